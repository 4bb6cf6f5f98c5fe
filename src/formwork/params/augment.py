"""The augmentation lists of params.yaml: those of the project, and those of a dataset."""

from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from formwork.params.fields import Operations, PositiveInt, Section, param

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


def _view(value: object) -> object:
    """A list alone is one view, of the usual size."""
    return {"operations": value} if isinstance(value, list) else value


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
    views: PositiveInt | list[Annotated[View, BeforeValidator(_view)]] = param(
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
