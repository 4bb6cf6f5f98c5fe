"""The section `model` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core.core_schema import ValidationInfo

from formwork.params.fields import Section, param
from formwork.params.timesteps import MOST_STEPS, LossSteps, Pattern, Steps, in_loss

ModelName = Literal["small_cnn", "resnet18", "rcnn"]  # each has a function in models/build.py

RECURRENT = ("rcnn",)
"""Models that take several timesteps; of the user's own models, the network itself says it."""


class Model(Section):
    name: ModelName = param("small_cnn", "The architecture.")
    timesteps: Annotated[int, Field(ge=1, le=MOST_STEPS)] = param(
        1,
        "Number of times that each image is shown in a row; above 1 for recurrent models only ([time](recurrent.md)).",
        unit="timesteps",
    )
    pattern: Pattern | None = param(
        None,
        "What each timestep shows, 1 the image and 0 a blank of the mean colour; its length is the number of steps, "
        "and `timesteps` stays 1, or is the same. One that begins with 0 stands in quotes in the file. `null`: the "
        "image, `timesteps` times.",
        values="a row of 1 and 0, such as `1011`",
    )
    blank_before: Steps = param(0, "Blanks before these steps.", unit="timesteps")
    blank_after: Steps = param(0, "Blanks after these steps.", unit="timesteps")
    loss_steps: LossSteps = param(
        "all",
        "The timesteps over whose outputs the loss and the metrics of training are means; the last of them gives the "
        "answer of the model, in validation and ever after.",
        values="`all`, `last`, or a list of steps counted from 1, blanks included; -1 is the last",
    )

    @field_validator("pattern")
    @classmethod
    def _has_as_many_steps_as_it_is_said_to_have(cls, pattern: str | None, info: ValidationInfo) -> str | None:
        timesteps = info.data.get("timesteps", 1)
        if pattern is not None and timesteps not in (1, len(pattern)):
            raise ValueError(
                f"{pattern} has {len(pattern)} steps, and model.timesteps is {timesteps}: set that to 1, or to "
                f"{len(pattern)}"
            )
        return pattern

    @model_validator(mode="after")
    def _steps_fit_together(self) -> "Model":
        in_loss(self.loss_steps, self.shown)
        steps = len(self.shown)
        if steps > 1 and self.name not in RECURRENT and not self.name.startswith("own/"):
            raise ValueError(
                f"{steps} timesteps need a recurrent model, rcnn or one of your own, and name is {self.name}. Set "
                f"timesteps, pattern, blank_before and blank_after so that there is one, or name: rcnn"
            )
        return self

    @property
    def shown(self) -> tuple[bool, ...]:
        """Whether each timestep shows the image (True) or a blank."""
        pattern = self.pattern or "1" * self.timesteps
        return (False,) * self.blank_before + tuple(step == "1" for step in pattern) + (False,) * self.blank_after

    @property
    def positions_in_loss(self) -> tuple[int, ...]:
        """The timesteps in the loss, counted from 0, in their order."""
        return in_loss(self.loss_steps, self.shown)
