"""How good a trained model is on other images: another dataset with its classes, or those of a group of classes."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from formwork.datasets.groups import classes_of
from formwork.errors import DatasetError, FormworkError, did_you_mean
from formwork.escapes import cell, printable
from formwork.evaluation.assess import Assessment, Bootstrap, assess
from formwork.evaluation.bootstrap import units_of
from formwork.evaluation.checks import check_finite, check_same
from formwork.evaluation.metrics_file import ends, with_interval
from formwork.evaluation.predictions import TITLES, Predictions, device, predict
from formwork.evaluation.tables import PARTS, part_header, part_rows
from formwork.files import check_writable
from formwork.folders import Folders
from formwork.formats import write_csv, write_json
from formwork.images.manifest import Manifest
from formwork.interim.settings import Settings, read_settings
from formwork.loading.project import ProjectData
from formwork.models.model_file import TrainedModel, load_model
from formwork.params import Augment, Params
from formwork.text import columns, count
from formwork.tools.evaluate_on.listing import list_images

RAW = Path("data/raw")
SMALLEST = np.finfo(np.float32).tiny


@dataclass(frozen=True)
class Images:
    """Images that a model was asked about.

    Attributes:
        title: of them, for people.
    """

    title: str
    manifest: Manifest
    predictions: Predictions


@dataclass(frozen=True)
class Measured:
    """Metrics of some images.

    Attributes:
        images: their title. among: of which classes or labels an answer is one, for people.
        settings: with these classes or labels.
    """

    images: str
    among: str
    assessment: Assessment
    settings: Settings


def evaluate_on(
    params: Params,
    model_file: Path,
    results: Path,
    dataset: str | None = None,
    group: str | None = None,
    split: str | None = None,
    known_only: bool = False,
) -> Path:
    """Write <name>.json and <name>.csv, a row a class, into `results`, and print the metrics.

    Args:
        dataset: name of a folder in data/raw, or a path; None: the validation and test images of data.name.
        group: a group of datasets.<name>.groups, of the dataset that the model was trained on.
        split: images of this split alone.
        known_only: leave out images of classes, and labels, that the model does not know.

    Returns:
        The JSON file.

    Raises:
        FormworkError: see formwork.errors.
    """
    trained = load_model(model_file)
    settings = trained.settings
    raw = None if dataset is None else find_dataset(dataset)
    name = settings.name if raw is None else raw.name
    file = results / f"{'.'.join(filter(None, [name, group, split]))}.json"
    check_writable(file, file.with_suffix(".csv"))
    chosen = _names(params, settings, group)
    if raw is None:
        images = _own(params, trained, model_file, split)
    else:
        images, there = _other(params, trained, model_file, raw, split, known_only)
        chosen = [one for one in chosen if one in there]
        if not chosen and settings.task != "regression":
            raise DatasetError(f"{raw} has no images of the classes of {group}.")
    measured = list(_measure(params, settings, images, chosen, group or name))
    write_json(file, _as_json({"dataset": name, "group": group, "model": model_file.as_posix()}, measured))
    header = ["images", "among", *part_header(measured[0].assessment, settings)]
    rows = (
        [one.images, cell(one.among), *row]
        for one in measured
        for support, row in zip(one.assessment.support, part_rows(one.assessment, one.settings), strict=True)
        if support
    )
    write_csv(file.with_suffix(".csv"), [header, *rows])
    print(columns(list(_lines(measured))))
    print(f"\nAll metrics: {file}\nBy {PARTS[settings.task][0]}: {file.with_suffix('.csv')}")
    return file


def find_dataset(name: str) -> Path:
    """The folder of a dataset.

    Raises:
        DatasetError: there is none.
    """
    for folder in (RAW / name, Path(name)):
        if folder.is_dir():
            return folder
    known = [path.name for path in sorted(RAW.iterdir()) if path.is_dir()] if RAW.is_dir() else []
    hint = did_you_mean(name, known) if known else ""
    raise DatasetError(f"There is no dataset {name!r}: it is neither a folder in {RAW} nor a path. {hint}".rstrip())


def _names(params: Params, settings: Settings, group: str | None) -> list[str]:
    """The classes or labels that images are judged by, in order; of a regression none."""
    if group is None:
        return settings.class_names
    if settings.task != "classes":
        raise FormworkError(f"A group is one of classes, and the task of the model is {settings.task}.")
    groups = params.datasets[settings.name].groups if settings.name in params.datasets else {}
    chosen = classes_of(group, settings.name, groups, settings.class_names)
    return [name for name in settings.class_names if name in chosen]


def _own(params: Params, trained: TrainedModel, model_file: Path, split: str | None) -> list[Images]:
    """The images that the stage evaluate measures the model on."""
    name = trained.settings.name
    if params.data.name != name:
        raise FormworkError(f"The model was trained on {name}, and data.name is {params.data.name}. Name a dataset.")
    folders = Folders.of(name)
    splits = [one for one in read_settings(folders.settings).splits if one != "train"]
    if split is not None and split not in splits:
        raise DatasetError(f"{split!r} is no split that the model was not trained on. {did_you_mean(split, splits)}")
    data = ProjectData(params, folders, [split] if split else splits)
    check_same(trained.settings, data.settings, model_file)
    return [_images(params, trained, model_file, data, one, f"{TITLES[one]} images") for one in data.splits]


def _other(
    params: Params, trained: TrainedModel, model_file: Path, raw: Path, split: str | None, known_only: bool
) -> tuple[list[Images], set[str]]:
    """The images of another dataset, and the classes or labels that it has."""
    plain = params.model_copy(
        update={
            "data": params.data.model_copy(update={"use_ffcv": False}),
            "augment": Augment(train=[], val=trained.settings.augment_val),
            "model": trained.params,
        }
    )
    with tempfile.TemporaryDirectory(prefix="formwork_") as folder:
        interim = Path(folder)
        _, there = list_images(plain, raw, interim / "test.csv", trained.settings, split, known_only)
        trained.settings.model_copy(update={"name": raw.name, "splits": ["test"]}).write(interim / "dataset.json")
        data = ProjectData(plain, Folders(raw, interim, interim), ["test"])
        return [_images(plain, trained, model_file, data, "test", f"images of {printable(raw.name)}")], there


def _images(
    params: Params, trained: TrainedModel, model_file: Path, data: ProjectData, split: str, title: str
) -> Images:
    mirrored = params.evaluate.tta == "flip"
    manifest, on = data.splits[split].manifest, device(params.trainer.accelerator)
    predictions = predict(trained, data.loader(split, device=on), on, data.settings.name, mirrored)
    check_finite(predictions, manifest, "image", model_file)
    return Images(title, manifest, predictions)


def _measure(
    params: Params, settings: Settings, images: Sequence[Images], chosen: Sequence[str], title: str
) -> Iterator[Measured]:
    """Among all classes, and among the chosen ones where these are fewer; of labels among the chosen ones alone.

    Args:
        title: of the chosen classes.
    """
    places = np.array([settings.class_names.index(name) for name in chosen], np.int64)
    fewer = settings.model_copy(update={"class_names": list(chosen)})
    all_of_them = len(chosen) == len(settings.class_names)
    some = f"the {count(len(chosen), *PARTS[settings.task])} of {printable(title)}"
    for part in images:
        units = units_of(part.manifest)
        bootstrap = Bootstrap(params.evaluate.bootstrap, params.evaluate.seed, part.title)
        if settings.task == "classes":
            rows = np.flatnonzero(np.isin(part.predictions.targets, places))
            of_rows, units = _at(part.predictions, rows), np.unique(units[rows], return_inverse=True)[1]
            if not len(rows):
                raise DatasetError(f"There are no {part.title} of the classes of {printable(title)}.")
            yield Measured(part.title, "all classes", assess(of_rows, settings, units, bootstrap), settings)
            if 1 < len(chosen) < len(settings.class_names):
                answers = among_classes(of_rows, places)
                yield Measured(part.title, some, assess(answers, fewer, units, bootstrap), fewer)
        elif all_of_them:
            among = f"all {PARTS[settings.task][1]}"
            yield Measured(part.title, among, assess(part.predictions, settings, units, bootstrap), settings)
        else:
            answers = among_labels(part.predictions, places)
            yield Measured(part.title, some, assess(answers, fewer, units, bootstrap), fewer)


def _at(predictions: Predictions, rows: np.ndarray) -> Predictions:
    return Predictions(predictions.targets[rows], predictions.answers[rows], predictions.losses[rows])


def among_classes(predictions: Predictions, places: np.ndarray) -> Predictions:
    """The answers of a model that knows that each image is of one of some classes: their probabilities, which sum to 1.

    Args:
        predictions: for images of these classes. places: (C,) of the classes, ascending.
    """
    answers = np.maximum(predictions.answers[:, places], SMALLEST)  # all may be 0, in float32
    answers /= answers.sum(axis=1, keepdims=True)
    targets = np.searchsorted(places, predictions.targets)
    return Predictions(targets, answers, -np.log(np.take_along_axis(answers, targets[:, None], axis=1)[:, 0]))


def among_labels(predictions: Predictions, places: np.ndarray) -> Predictions:
    """The answers for some of the labels, with their mean loss."""
    answers, targets = predictions.answers[:, places], predictions.targets[:, places]
    right = np.maximum(np.where(targets > 0.5, answers, 1 - answers), SMALLEST)
    return Predictions(targets, answers, -np.log(right).mean(axis=1))


def _as_json(about: dict[str, str | None], measured: Sequence[Measured]) -> dict[str, Any]:
    found = []
    for one in measured:
        assessment = one.assessment
        intervals = {name: ends(pair) for name, pair in assessment.intervals.items()}
        counts = {"images": assessment.images, "classes": len(one.settings.class_names)}
        found.append(
            {"of": one.images, "among": printable(one.among), **counts, **assessment.metrics, "intervals": intervals}
        )
    return {**{name: text and printable(text) for name, text in about.items()}, "metrics": found}


def _lines(measured: Sequence[Measured]) -> Iterator[list[str]]:
    """A line a metric, with its interval; a column for each part and choice of classes."""
    yield ["", *(one.images for one in measured)]
    yield ["among", *(one.among for one in measured)]
    yield ["images", *(f"{one.assessment.images:,}" for one in measured)]
    for name in dict.fromkeys(name for one in measured for name in one.assessment.metrics):
        cells = [with_interval(one.assessment, name) if name in one.assessment.metrics else "" for one in measured]
        yield [name, *cells]
