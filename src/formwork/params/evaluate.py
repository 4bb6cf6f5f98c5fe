"""The section `evaluate` of params.yaml."""

from formwork.params.fields import PositiveInt, Section, param


class Evaluate(Section):
    worst_mistakes: PositiveInt = param(16, "Number of images in the picture of the worst mistakes.", unit="images")
