"""The section `model` of params.yaml."""

from typing import Literal

from pydantic import model_validator

from formwork.params.fields import PositiveInt, Section, param

ModelName = Literal["small_cnn", "resnet18", "rcnn"]  # each has a function in models/build.py


class Model(Section):
    name: ModelName = param("small_cnn", "The architecture.")
    timesteps: PositiveInt = param(
        1,
        "Number of times that each image is shown in a row; above 1 for the recurrent `rcnn` only.",
        unit="time steps",
    )

    @model_validator(mode="after")
    def _only_a_recurrent_model_has_time(self) -> "Model":
        if self.timesteps > 1 and self.name != "rcnn":
            raise ValueError(f"timesteps above 1 need the recurrent model rcnn, not {self.name}")
        return self
