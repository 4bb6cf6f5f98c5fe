"""The sections of params.yaml: a model each, a field for each key, with its type, default, unit and description.

docs/parameters.md is made from them by `make docs`.
"""

import re
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from formwork.errors import did_you_mean
from formwork.params.augment import Augment, DatasetAugment
from formwork.params.cluster import VALUES as CLUSTERS
from formwork.params.cluster import Cluster
from formwork.params.evaluate import Evaluate
from formwork.params.fields import (
    Float,
    Fraction,
    PositiveFloat,
    PositiveInt,
    Section,
    Seed,
    Triple,
    param,
)
from formwork.params.model import Model
from formwork.params.patterns import parse_patterns
from formwork.params.train import Train, Trainer, check_recipe

NAME = re.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""A dataset's name: a folder's, in paths that a shell, git and DVC read on any system."""


class Split(Section):
    """How images are shared out, where the dataset does not say it itself ([how](splits.md))."""

    val: Annotated[Float, Field(gt=0, lt=1)] = param(
        0.2, "Share of the images for validation, by which the best epoch is chosen."
    )
    test: Annotated[Float, Field(ge=0, lt=1)] = param(
        0.1, "Share of the images that is kept apart for the test, which nothing is chosen by; 0: no test split."
    )
    by: Literal["content", "path", "group"] = param(
        "content",
        "What decides where an image belongs: a hash of the file's bytes, of its path, or of its group.",
    )
    group: str | None = param(
        None,
        "The group of an image, for `by: group`: images of one group are never in different splits.",
        values="a regular expression that is searched in the path, whose first group, or all that it matches, is the "
        "image's; or the name of a column in the table of labels",
    )
    stratify: bool = param(True, "`true`: each class has these shares. `false`: all classes together have them.")
    folds: Annotated[int, Field(ge=2)] | None = param(
        None, "Number of parts for cross-validation; `val` is then one of them, in place of the share above."
    )
    fold: Annotated[int, Field(ge=0)] = param(0, "Which of the `folds` is `val`, counted from 0.")
    official_test: Literal["test", "val"] = param(
        "test",
        "What a test set that the dataset itself has is used for: the test, with `val` taken out of the training "
        "images; or validation, if it has no other for that.",
    )

    @model_validator(mode="after")
    def _parts_fit_together(self) -> "Split":
        if self.val + self.test >= 1:
            raise ValueError(f"val and test leave no images to train on: together they are {self.val + self.test:g}")
        if self.folds is not None and self.fold >= self.folds:
            raise ValueError(f"fold is {self.fold}, and must be below folds, which is {self.folds}")
        if self.by == "group" and self.group is None:
            raise ValueError("by: group needs to know the groups: set group, too")
        if self.group is not None:
            try:
                re.compile(self.group)
            except re.error as error:
                raise ValueError(f"group is no regular expression: {error}") from error
        return self


class Data(Section):
    """The dataset, and how it is loaded."""

    name: str = param(
        ...,
        "The dataset: its images are in `data/raw/<name>`, its settings in `datasets.<name>`.",
        values="letters, digits, `.`, `_` and `-`, with a letter or digit first; 100 characters at most",
    )
    fetch: list[str] = param(
        [], "Datasets that the pipeline generates or downloads, one stage each.", values="a list of names in `sources`"
    )
    group: str = param(
        "all",
        "The classes that are used: all of them, or those of one group.",
        values="`all`, or a key of `datasets.<name>.groups`",
    )
    use_ffcv: bool = param(
        True,
        "`true`: load betons with `FFCVDataLoader`. `false`: load the original images with a PyTorch `DataLoader`.",
    )
    split: Split = Split()
    on_bad_image: Literal["error", "skip"] = param(
        "error", "What to do with files that are not valid images: stop and list them, or leave them out."
    )
    on_duplicate: Literal["report", "error", "skip"] = param(
        "report",
        "What to do with files of identical content: list them, stop, or keep one of each (one in the test split, or "
        "else in the validation split, or else in the training split; none, where their classes differ).",
    )
    on_near_duplicate: Literal["report", "error", "skip", "same_split"] = param(
        "report",
        "What to do with images that are copies of others at sight, saved again, scaled, cropped a little or mirrored: "
        "list them, stop, keep one of each, or keep all copies of an image in the same split.",
    )
    ignore: list[str] = param(
        [],
        "Files and folders of `data/raw/<name>` that are left out, as in a `.gitignore`: `masks/` is every folder of "
        "that name, `/test/` the one at the top, `*_mask.png` every such file.",
        values="a list of patterns",
    )
    batch_size: PositiveInt = param(64, "Size of a batch, over all devices together.", unit="images")
    num_workers: Annotated[int, Field(ge=0)] = param(
        2,
        "Threads of `FFCVDataLoader`, or processes of the PyTorch `DataLoader`; 0: load in the training process.",
        unit="threads or processes",
    )
    dtype: Literal["float32", "float16", "bfloat16", "uint8"] = param(
        "float32",
        "Type of the images in a batch. `uint8` takes a quarter of the memory of `float32` and is normalised on the "
        "device; the others are normalised by the loader. A GPU gets `uint8` in any case, with the same results.",
    )

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, name: str) -> str:
        if not NAME.fullmatch(name):
            raise ValueError(
                f"should match pattern {NAME.pattern}: letters, digits, '.', '_' and '-', with a letter or digit "
                f"first, 100 characters at most; and it is {name!r}. Rename the folder in data/raw"
            )
        return name

    @field_validator("ignore")
    @classmethod
    def _patterns_mean_something(cls, patterns: list[str]) -> list[str]:
        parse_patterns(patterns)
        return patterns


class BetonParams(Section):
    """How images are stored; a change converts them again."""

    write_mode: Literal["jpg", "raw", "smart", "proportion"] = param(
        "smart",
        "Storage of each image: as JPEG; as raw pixels; `smart`: as JPEG where that saves enough, else raw; "
        "`proportion`: as JPEG for a random share of the images, else raw.",
    )
    smart_threshold: PositiveFloat = param(
        2.0, "`smart` stores an image as JPEG where raw pixels take more than this many times its size."
    )
    compress_probability: Fraction = param(0.5, "`proportion`: share of the images stored as JPEG.")
    seed: Seed = param(0, "`proportion`: seed of the choice of these images.")
    max_resolution: Annotated[int, Field(ge=1, le=65500)] | None = param(
        None, "Longer side of the stored images; larger ones are scaled down. `null`: keep their size.", unit="pixels"
    )
    passthrough: bool = param(
        True,
        "Where JPEG is chosen, store the bytes of a JPEG source unchanged if it is RGB, upright and within "
        "`max_resolution`.",
    )
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = param(90, "JPEG quality of images that are encoded.")
    chroma_subsampling: Literal[444, 422, 420] = param(
        420, "Chroma subsampling of images that are encoded; 444 is none."
    )
    restart_markers: Literal["none", "encoded", "all"] = param(
        "encoded",
        "Which JPEGs get restart markers, between which a crop takes only what it needs of a file: those that are "
        "encoded; `all`, also sources that `passthrough` stores, without loss; or none.",
    )
    part_mb: PositiveFloat | None = param(
        None,
        "A split that takes more is stored as a folder of betons of about this size: a changed image then writes, "
        "stores and pushes no others again. `null`: one file.",
        unit="MB (1,000,000 bytes)",
    )


class Ffcv(Section):
    """Loading from betons, and writing them."""

    os_cache: bool = param(
        True,
        "`true`: what was read stays in the page cache. `false`: it is dropped from it, for a file larger than memory.",
    )
    verify: Literal["first", "always", "never"] = param(
        "first",
        "When a stored image is compared with the checksum that it was written with: when it is first read in a run, "
        "whenever it is read, or never.",
    )
    order: Literal["sequential", "random", "quasi_random", "class_balanced"] = param(
        "quasi_random",
        "Order of the training images, for both loaders. `quasi_random` shuffles blocks of neighbours, so that a file "
        "larger than memory is read in large pieces. `class_balanced` draws each class as often as any other, and so "
        "images of small classes several times.",
    )
    distributed: bool = param(
        False,
        "`true`: each device gets its share of every batch; required for several, by `trainer.devices` or "
        "`trainer.num_nodes`.",
    )
    batches_ahead: PositiveInt = param(3, "Number of batches prepared in advance.", unit="batches")
    resolution_schedule: list[Annotated[list[PositiveInt], Field(min_length=2, max_length=2)]] | None = param(
        None,
        "Side of the training images from an epoch on, counted from 1: `[[1, 128], [7, 160]]` is 128 pixels in epochs "
        "1 to 6 and 160 from epoch 7 on. `null`: always the resolution of the dataset.",
        values="a list of pairs `[epoch, pixels]`",
    )
    fallback: Literal["warn", "error"] = param(
        "warn", "When betons cannot be loaded: warn and go on with the PyTorch `DataLoader`, or stop."
    )
    beton: BetonParams = BetonParams()

    @field_validator("resolution_schedule")
    @classmethod
    def _epochs_follow_each_other(cls, schedule: list[list[int]] | None) -> list[list[int]] | None:
        epochs = [epoch for epoch, _ in schedule or []]
        if any(second <= first for first, second in pairwise(epochs)):
            raise ValueError(f"the epochs of its [epoch, resolution] pairs must increase, and are {epochs}")
        return schedule


class NoOptions(Section):
    """A source without options: it always makes the same dataset."""


class ImagenetteSource(Section):
    size: Literal["full", "320px", "160px"] = param(
        "320px", "Shorter side of the images; `full`: as they are in ImageNet."
    )


class SyntheticSource(Section):
    """Noise that looks like photos to a loader: JPEGs of 500 x 375 pixels and about 117 kB each."""

    images: PositiveInt = param(2000, "Number of images.", unit="images")
    classes: PositiveInt = param(10, "Number of classes.", unit="classes")
    seed: Seed = param(0, "Seed of the images.")


class Sources(Section):
    """How datasets are made that the pipeline fetches: for each module of `formwork.sources` a field with its options.
    A change makes that dataset again. These names are those that `data.fetch` may list."""

    digits: NoOptions = NoOptions()
    mnist: NoOptions = NoOptions()
    cifar10: NoOptions = NoOptions()
    cifar100: NoOptions = NoOptions()
    imagenette: ImagenetteSource = ImagenetteSource()
    synthetic: SyntheticSource = SyntheticSource()


class Dataset(Section):
    """An entry for each dataset that needs one. Every key may be left out, and so may the whole entry."""

    resolution: Annotated[int, Field(ge=1, le=16384)] | Literal["auto"] = param(
        "auto", "Side of the images in a batch; `auto`: the median shorter side, at most 224.", unit="pixels"
    )
    mean: Triple | Literal["auto"] = param(
        "auto",
        "Channel means, in units of 0 to 1; `auto`: of the training split.",
        values="a list of three numbers, or `auto`",
    )
    std: Annotated[list[PositiveFloat], Field(min_length=3, max_length=3)] | Literal["auto"] = param(
        "auto",
        "Channel standard deviations, in units of 0 to 1; `auto`: of the training split.",
        values="a list of three numbers above 0, or `auto`",
    )
    augment: DatasetAugment = DatasetAugment()
    layout: Literal["auto", "classes", "splits"] = param(
        "auto",
        "What the folders in `data/raw/<name>` are. `auto`: classes, or splits that hold them, by names and content; "
        "`link` stops where that is not plain. `classes`, `splits`: each of them is a class, or a split with a folder "
        "for each class, whatever names and content.",
    )
    task: Literal["auto", "classes", "multilabel", "regression"] = param(
        "auto",
        "What the model is to predict: one of several classes, any of several labels, or numbers. `auto`: what the "
        "table of labels, or the folders, plainly say.",
    )
    columns: dict[Literal["path", "label", "labels", "targets", "split", "group", "weight"], str | list[str]] = param(
        {},
        "Columns of the table of labels whose names do not say what they hold ([usual names](labels.md#columns)).",
        values="a mapping of `path`, `label`, `labels`, `split`, `group` and `weight` to the name of a column, and of "
        "`targets` to a list of names",
    )
    groups: dict[str, list[str | int]] = param(
        {}, "Groups of classes for `data.group`.", values="a mapping of names to lists of classes"
    )


class Params(Section):
    """The whole of params.yaml."""

    data: Data
    ffcv: Ffcv = Ffcv()
    augment: Augment = Augment()
    model: Model = Model()
    train: Train = Train()
    trainer: Trainer = Trainer()
    evaluate: Evaluate = Evaluate()
    seed: Seed = param(0, "Seed of the weights, of the order of the images and of their augmentation.")
    cluster: Cluster = param(
        None,
        "Machines that verify and convert images, through Dask; `null`: this one. It changes no output.",
        values=CLUSTERS,
    )
    sources: Sources = Sources()
    datasets: dict[str, Dataset] = Field({})

    @model_validator(mode="after")
    def _parts_fit_together(self) -> "Params":
        for name in self.data.fetch:
            if name not in Sources.model_fields:
                near = did_you_mean(name, Sources.model_fields)
                raise ValueError(f"data.fetch lists {name!r}, which cannot be fetched. {near}")
            if self.data.fetch.count(name) > 1:
                raise ValueError(f"data.fetch lists {name!r} more than once")
        self._check_shares()
        check_recipe(self.train, self.trainer)
        self._check_views()
        if message := self.unsuitable(self.dataset.task):
            raise ValueError(message)
        return self

    def _check_views(self) -> None:
        """Raises ValueError: something else has no meaning for several views of an image."""
        views = self.augment.views
        if views != 1 and len(self.model.shown) > 1:
            raise ValueError(
                f"augment.views gives several views of an image, and model asks for {len(self.model.shown)} timesteps "
                "of one: set augment.views: 1, or model.timesteps: 1 and no pattern"
            )
        if isinstance(views, list) and self.ffcv.resolution_schedule and any(view.resolution for view in views):
            raise ValueError(
                "ffcv.resolution_schedule sets the side of all training images, and augment.views that of some: "
                "remove one of them"
            )

    def _check_shares(self) -> None:
        """Raises ValueError: several devices could not share the batches."""
        devices = 1 if self.trainer.devices == "auto" else self.trainer.devices
        counts = {"trainer.num_nodes": self.trainer.num_nodes, "trainer.devices": devices}
        several = {key: count for key, count in counts.items() if count > 1}
        world_size = self.trainer.num_nodes * devices
        if several and not self.ffcv.distributed:
            key, count = next(iter(several.items()))
            raise ValueError(
                f"{key} is {count} while ffcv.distributed is false: every device would train on the same images. Set "
                f"ffcv.distributed: true, or {' and '.join(f'{key}: 1' for key in several)}"
            )
        if self.data.batch_size % world_size:
            shares = " x ".join(f"{key} {count}" for key, count in several.items())
            raise ValueError(
                f"data.batch_size {self.data.batch_size} cannot be shared equally by {shares}: use a multiple of "
                f"{world_size}"
            )

    def unsuitable(self, task: str) -> str | None:
        """What of these params has no meaning for a task, in words."""
        if message := self.trainer.unknown_monitor(task):
            return message
        wrong = {
            "ffcv.order: class_balanced": self.ffcv.order == "class_balanced",
            "train.class_weights: balanced": self.train.class_weights is not None,
            "train.label_smoothing above 0": self.train.label_smoothing > 0,
        }
        found = [key for key, is_set in wrong.items() if is_set and task == "regression"]
        return f"{found[0]} needs classes, and {self.data.name} has numbers. Change it" if found else None

    @property
    def dataset(self) -> Dataset:
        """The entry of datasets for data.name; defaults where there is none."""
        return self.datasets.get(self.data.name, Dataset())
