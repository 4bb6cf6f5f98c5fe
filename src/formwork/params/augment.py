"""The augmentation lists of params.yaml: those of the project, and those of a dataset."""

from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from formwork.errors import did_you_mean
from formwork.params.fields import Operations, PositiveInt, Section, param

MOST_VIEWS = 100
"""Of an image in a batch."""
A_LIST = "a [list](augmentation.md) of operations"


class View(Section):
    """An entry of augment.views.

    Attributes:
        times: how many views are made so, each from random numbers of its own.
        resolution: side of these views in pixels; None: that of the training images.
    """

    operations: Operations
    times: PositiveInt = 1
    resolution: Annotated[int, Field(ge=1, le=16384)] | None = None


def _views(value: object) -> object:
    """The views of a list, in which a list alone is one view, of the usual size.

    Raises:
        ValueError: it names the entry that is wrong, and its key.
    """
    if isinstance(value, list):
        value = [_view(entry, f"entry {number} of the list") for number, entry in enumerate(value, start=1)]
        count = sum(view.times for view in value)
    else:
        count = value if isinstance(value, int) else 1
    if not 1 <= count <= MOST_VIEWS:
        raise ValueError(f"from 1 to {MOST_VIEWS} views of an image are possible, and this asks for {count}")
    return value


def _view(entry: object, called: str) -> View:
    if isinstance(entry, list):
        entry = {"operations": entry}
    if isinstance(entry, View):
        return entry
    if not isinstance(entry, dict):
        keys = ", ".join(View.model_fields)
        raise ValueError(f"{called} must be a list of operations, or a mapping of {keys}, and is {entry!r}")
    if len(entry) == 1 and isinstance(next(iter(entry.values())), dict):
        (name,) = entry
        raise ValueError(f"{called} is an operation, {name}: each view is a list of operations, so write [{name}]")
    try:
        return View.model_validate(entry)
    except ValidationError as error:
        # A misspelt key comes before one that is missing for it.
        first = min(error.errors(), key=lambda item: item["type"] != "extra_forbidden")
        key = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            reason = f" is unknown. {did_you_mean(key, View.model_fields)}"
        elif first["type"] == "missing":
            reason = " is missing"
        elif first["type"] == "value_error":
            reason = f": {first['ctx']['error']}"
        else:
            reason = f" {first['msg'].removeprefix('Input ')}, and is {first['input']!r}"
        raise ValueError(f"{called}: {key}{reason}") from error


class DatasetAugment(Section):
    """Lists of operations, applied in their order."""

    train: Operations | None = param(
        None,
        "Augmentation of the training images. `null`: `RandomResizedCrop` and `RandomHorizontalFlip`; below 64 pixels "
        "`RandomCrop`, padded by an eighth of the resolution, and `RandomHorizontalFlip`.",
        values=A_LIST,
    )
    val: Operations | None = param(None, "Preprocessing of the validation images. `null`: `CenterCrop`.", values=A_LIST)


class Augment(Section):
    """Lists of operations, applied in their order."""

    train: Operations | None = param(
        None, "Augmentation of the training images; `null`: that of the dataset.", values=A_LIST
    )
    val: Operations | None = param(
        None, "Preprocessing of the validation images; `null`: that of the dataset.", values=A_LIST
    )
    views: Annotated[PositiveInt | list[View], BeforeValidator(_views)] = param(
        1,
        "[Views](augmentation.md#views) of each training image in a batch, each augmented from random numbers of its "
        "own; or a list with the operations of each, in place of `train`.",
        values="a whole number from 1 on, or a list of lists of operations, of which each can be a mapping of "
        "`operations`, `times` and `resolution`",
    )

    def sides(self, resolution: int) -> list[int]:
        """Of each view of a training image, in pixels, where training images are of this resolution."""
        if isinstance(self.views, int):
            return [resolution] * self.views
        return [view.resolution or resolution for view in self.views for _ in range(view.times)]

    @model_validator(mode="after")
    def _views_have_one_list(self) -> "Augment":
        if isinstance(self.views, list):
            if sum(view.times for view in self.views) < 2:
                raise ValueError("views is a list of one view: put its operations into train, and set views: 1")
            if self.train is not None:
                raise ValueError("views has the operations of each view, and train has others: leave train empty")
        return self
