"""The section `evaluate` of params.yaml."""

from typing import Annotated

from pydantic import Field

from formwork.params.fields import PositiveInt, Section, Seed, param


class Evaluate(Section):
    """What is measured of a trained model ([how](evaluation.md))."""

    worst_mistakes: PositiveInt = param(16, "Number of images in the picture of the worst mistakes.", unit="images")
    bootstrap: Annotated[int, Field(ge=0)] = param(
        1000, "Number of resamples for the 95 % intervals of all metrics; 0: no intervals.", unit="resamples"
    )
    seed: Seed = param(0, "What the resamples are drawn by.")
