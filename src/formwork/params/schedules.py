"""The schedules of the learning rate: their names, and what `train.schedule_options` may hold for each."""

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from formwork.errors import did_you_mean
from formwork.params.fields import Float, Fraction, PositiveFloat, Section


class ScheduleOptions(Section):
    """Base class of the options of a schedule; those of one that has none."""


class OneCycle(ScheduleOptions):
    """Those of torch.optim.lr_scheduler.OneCycleLR, with its defaults, but for cycle_momentum: None is true for an
    optimiser with betas that train.optimizer_options does not set, and else false."""

    pct_start: Annotated[Float, Field(gt=0, lt=1)] = 0.3
    anneal_strategy: Literal["cos", "linear"] = "cos"
    cycle_momentum: bool | None = None
    base_momentum: Annotated[Float, Field(ge=0, lt=1)] = 0.85
    max_momentum: Annotated[Float, Field(ge=0, lt=1)] = 0.95
    div_factor: Annotated[Float, Field(ge=1)] = 25.0
    final_div_factor: Annotated[Float, Field(ge=1)] = 1e4
    three_phase: bool = False

    @model_validator(mode="after")
    def _phases_fit(self) -> "OneCycle":
        if self.three_phase and self.pct_start > 0.5:
            raise ValueError(
                f"three_phase falls for as long as it rises: pct_start is {self.pct_start:g}, and at most 0.5"
            )
        if self.base_momentum > self.max_momentum:
            raise ValueError(f"base_momentum {self.base_momentum:g} is above max_momentum {self.max_momentum:g}")
        return self


class ToEnd(ScheduleOptions):
    """end_factor: of train.lr, what is left of it at the end."""

    end_factor: Fraction = 0.0


class Step(ScheduleOptions):
    """After so many epochs of each of `milestones`, the learning rate is multiplied by gamma."""

    milestones: Annotated[list[PositiveFloat], Field(min_length=1)]
    gamma: Annotated[PositiveFloat, Field(le=1)] = 0.1

    @field_validator("milestones")
    @classmethod
    def _follow_each_other(cls, milestones: list[float]) -> list[float]:
        if any(second <= first for first, second in pairwise(milestones)):
            raise ValueError(f"must increase, and are {milestones}")
        return milestones


ScheduleName = Literal["one_cycle", "cosine", "linear", "step", "constant"]
SCHEDULES: dict[ScheduleName, type[ScheduleOptions]] = {
    "one_cycle": OneCycle,
    "cosine": ToEnd,
    "linear": ToEnd,
    "step": Step,
    "constant": ScheduleOptions,
}


def parse_schedule(name: ScheduleName, options: dict) -> ScheduleOptions:
    """The options of a schedule, checked.

    Raises:
        ValueError: naming all that is wrong with them.
    """
    kind = SCHEDULES[name]
    try:
        return kind.model_validate(options)
    except ValidationError as error:
        reasons = [_reason(name, kind, item["type"], item["loc"], item["msg"]) for item in error.errors()]
        raise ValueError("; ".join(reasons)) from error


def _reason(
    schedule: str, kind: type[ScheduleOptions], problem: str, place: tuple[int | str, ...], message: str
) -> str:
    message = message.removeprefix("Value error, ")
    if not place:
        return message
    option = place[0]
    if problem == "extra_forbidden":
        near = did_you_mean(str(option), kind.model_fields) if kind.model_fields else "It has none."
        return f"{schedule} has no option {option!r}. {near}"
    if problem == "missing":
        return f"{schedule} needs {option}, as in {{{option}: [30, 60]}}: after how many epochs the learning rate falls"
    return f"{option}: {message[0].lower()}{message[1:]}"
