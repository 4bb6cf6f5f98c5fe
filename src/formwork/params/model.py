"""The section `model` of params.yaml."""

import re
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator, model_validator

from formwork.errors import did_you_mean
from formwork.params.fields import PositiveInt, Section, finite, param
from formwork.params.timesteps import MOST_STEPS, LossSteps, Pattern, Steps, in_loss

Family: TypeAlias = Literal["formwork", "torchvision", "timm", "own"]
"""Where a model comes from."""

WEIGHT_FILES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
"""Endings of the files that hold weights."""
FOLDER = "models/weights/"
"""Folder of the user's weight files."""


class SmallCNNOptions(Section):
    width: PositiveInt = 32


class RCNNOptions(Section):
    widths: Annotated[list[PositiveInt], Field(default=[32, 64, 128], min_length=1)]


OPTIONS: dict[str, type[Section]] = {"small_cnn": SmallCNNOptions, "rcnn": RCNNOptions}
"""For each model of Formwork's own its options, with their defaults."""


def _model_name(name: str) -> str:
    """What can be said of a name without the libraries; models/build.py knows the rest."""
    prefix, _, rest = name.rpartition("/")
    if prefix not in ("", "timm", "own"):
        near = did_you_mean(prefix, ("timm", "own"))
        raise ValueError(f"is {name!r}, and what stands before the / must be timm or own. {near}")
    if prefix == "own" and not (rest.isidentifier() and not rest.startswith("_")):
        raise ValueError(f"is {name!r}, and own/<function> must name a public function of src/own/models.py")
    if not re.fullmatch(r"\w[\w.-]*", rest):
        raise ValueError(
            f"is {name!r}: a name has letters, digits, '_', '.' and '-', with timm/ or own/ before it or not"
        )
    return name


def _weights(weights: str | None) -> str | None:
    """A file is named within models/weights, however it was written."""
    if weights is None or weights == "default":
        return weights
    name = weights.removeprefix("./").removeprefix(FOLDER)
    if not name.endswith(WEIGHT_FILES):
        raise ValueError(
            f"is {weights!r}, and must be default or a file in {FOLDER} whose name ends in {', '.join(WEIGHT_FILES)}"
        )
    if name.startswith(("/", "~")) or ".." in name.split("/"):
        raise ValueError(f"is {weights!r}, and must be a file in {FOLDER}: copy it there and run `dvc add` on it")
    return name


def _number(value: Any) -> Any:
    """1e-3 is a number, whoever wrote it; to some programs it is text."""
    if isinstance(value, str) and re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d+", value):
        return float(value)
    return value


RECURRENT = ("rcnn",)
"""Models that take several timesteps; of the user's own models, the network itself says it."""


class Model(Section):
    """The network that is trained ([models](models.md))."""

    name: Annotated[str, AfterValidator(_model_name)] = param(
        "small_cnn",
        "The architecture.",
        values="`small_cnn`, `rcnn`, a classification model of torchvision such as `resnet18`, `timm/<name>`, or "
        "`own/<function>` of `src/own/models.py`",
    )
    options: dict[str, Any] = param(
        {}, "Arguments of the model's function.", values="a mapping; for `small_cnn` `width`, for `rcnn` `widths`"
    )
    stem: Literal["auto", "original"] = param(
        "auto",
        "The first layers. `auto`: for images below 64 pixels, those that are usual for small images, which keep their "
        "resolution. `original`: as the architecture has them.",
    )
    weights: Annotated[str, AfterValidator(_weights)] | None = param(
        None,
        "The weights that training starts from. `null`: random ones. `default`: those published with the model.",
        values="`null`, `default`, or the name of a file in `models/weights`",
    )
    freeze: list[Annotated[str, Field(min_length=1)]] = param(
        [],
        "Parameters that are not trained, by patterns over their names: `layer1.*`. A `!` before a pattern takes out "
        "what an earlier one has matched.",
        values="a list of patterns",
    )
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

    @property
    def family(self) -> Family:
        if self.name in OPTIONS:
            return "formwork"
        return "timm" if self.name.startswith("timm/") else "own" if self.name.startswith("own/") else "torchvision"

    @property
    def variant(self) -> str:
        """The name within its family: resnet18 of timm/resnet18."""
        return self.name.rpartition("/")[2]

    @field_validator("options")
    @classmethod
    def _options_suit(cls, options: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        options = finite({key: _number(value) for key, value in options.items()})
        name = info.data.get("name")
        known = OPTIONS.get(name) if isinstance(name, str) else None
        if known is None:
            return options
        try:
            known.model_validate(options)
        except ValidationError as error:
            (first, *_) = error.errors()
            option = str(first["loc"][0])
            if first["type"] == "extra_forbidden":
                near = did_you_mean(option, known.model_fields)
                raise ValueError(f"{option!r} is no option of {name}. {near}") from error
            reason = first["msg"][0].lower() + first["msg"][1:]
            raise ValueError(f"{option} of {name}: {reason}, and it is {options[option]!r}") from error
        return options

    @model_validator(mode="after")
    def _published_weights_need_a_library(self) -> "Model":
        if self.weights == "default" and self.family in ("formwork", "own"):
            raise ValueError(
                f"weights: default means published weights, and {self.name} has none. Name a file in {FOLDER}, or set "
                "weights to null"
            )
        return self

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
