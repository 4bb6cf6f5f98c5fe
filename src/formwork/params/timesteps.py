"""What model.pattern and model.loss_steps in params.yaml can be."""

import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

MOST_STEPS = 1000


def _pattern(value: object) -> object:
    """A number is the text of its digits: what `-S model.pattern=1011` becomes."""
    if value is None:
        return None
    text = str(value) if type(value) is int else value
    if not isinstance(text, str) or not re.fullmatch("[01]+", text):
        raise ValueError(f"must be a row of 1 (the image) and 0 (a blank), such as 1011, and is {value!r}")
    if "1" not in text:
        raise ValueError(f"{text} never shows the image: a step must be 1")
    if len(text) > MOST_STEPS:
        raise ValueError(f"has {len(text):,} steps, and at most {MOST_STEPS:,} are possible")
    return text


def _loss_steps(value: object) -> object:
    steps = value if isinstance(value, list) else [value]
    if value not in ("all", "last") and not (steps and all(type(step) is int for step in steps)):
        raise ValueError(f"must be all, last, or a list of steps, counted from 1, such as [3, 4], and is {value!r}")
    return value if value in ("all", "last") else steps


Steps = Annotated[int, Field(ge=0, le=MOST_STEPS)]
Pattern = Annotated[str, BeforeValidator(_pattern)]
LossSteps = Annotated[Literal["all", "last"] | list[int], BeforeValidator(_loss_steps)]


def in_loss(loss_steps: Literal["all", "last"] | Sequence[int], shown: Sequence[bool]) -> tuple[int, ...]:
    """Positions of the timesteps in the loss, counted from 0, in their order.

    Args:
        shown: whether each timestep shows the image.

    Raises:
        ValueError: they are not among these steps, or name one twice, or all lie before the image is first shown.
    """
    steps = len(shown)
    if loss_steps == "all":
        return tuple(range(steps))
    chosen = (-1,) if loss_steps == "last" else tuple(loss_steps)
    if out := [step for step in chosen if not 1 <= abs(step) <= steps]:
        raise ValueError(
            f"loss_steps has {out[0]}, and the steps are 1 to {steps}, or -{steps} to -1 from the end; blanks count"
        )
    positions = sorted(step % steps if step < 0 else step - 1 for step in chosen)
    if len(set(positions)) < len(positions):
        raise ValueError(f"loss_steps {list(chosen)} names a step more than once, of {steps}")
    if positions[-1] < (first := shown.index(True)):
        raise ValueError(
            f"loss_steps end before the image is first shown, in step {first + 1}: nothing would be learned"
        )
    return tuple(positions)
