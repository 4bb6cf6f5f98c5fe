"""The sections of the report, each from the files of one stage or tool. What is not there is said, with the command
that makes it: the page can be made at any time."""

import csv
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from formwork.errors import FormworkError
from formwork.files import write_text
from formwork.folders import Folders
from formwork.images.manifest import read_manifest
from formwork.interim.settings import read_settings
from formwork.params import Params
from formwork.text import format_bytes
from formwork.tools.measure import commit
from formwork.tools.preview.preview import preview
from formwork.tools.report.charts import draw_confusion, draw_curves, read_confusion
from formwork.tools.report.experiments import find_experiments
from formwork.tools.report.page import Code, Missing, Part, Picture, Section, Table, Text, markdown, render
from formwork.tools.summary import summary
from formwork.yaml import dump_yaml

RESULTS = Path("results")
EXPERIMENT = "dvc exp run -S trainer.max_epochs=20"  # for example
MOST_EXPERIMENTS = 20  # rows of their table: the most accurate ones of more
MOST_CLASSES = 20  # rows of the table of accuracies by class: the worst ones of more


def report(params: Params, folders: Folders, path: Path) -> None:
    """Write the page.

    Raises:
        FormworkError: `path` cannot be written.
    """
    made = f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC, commit {commit()}"
    write_text(path, render(f"{params.data.name}, {params.model.name}", made, sections(params, folders)))
    print(f"Report: {path}")


def sections(params: Params, folders: Folders) -> list[Section]:
    """The sections, in the order of the page."""
    return [
        Section("Summary", _try(lambda: _summary(params), "dvc repro")),
        Section("Data", _try(lambda: _data(folders), "dvc repro link convert")),
        Section("Images", _try(lambda: _images(params, folders), "dvc repro link convert")),
        Section("Training", _try(_training, "dvc repro train")),
        Section("Evaluation", _try(_evaluation, "dvc repro evaluate")),
        Section("Experiments", _try(lambda: _experiments(params), EXPERIMENT)),
        Section("Loaders compared", _try(_comparison, "make compare")),
        Section("Parameters", [Code("All of them, as they were when this page was made", _yaml(params))]),
    ]


def _yaml(params: Params) -> str:
    """The params as YAML, without the settings of other datasets."""
    values = params.model_dump()
    values["datasets"] = {name: value for name, value in values["datasets"].items() if name == params.data.name}
    return dump_yaml(values)


def _try(make: Callable[[], list[Part]], command: str) -> list[Part]:
    try:
        return make()
    except FileNotFoundError as error:
        return [Missing(f"{error.filename} is not there yet.", command)]
    except FormworkError as error:
        return [Missing(str(error), command)]
    except (OSError, ValueError, KeyError, csv.Error) as error:
        return [Missing(f"What this section is made from cannot be read: {error}.", command)]


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _summary(params: Params) -> list[Part]:
    return [Table(["", ""], summary(params, RESULTS), texts=2)]


def _data(folders: Folders) -> list[Part]:
    settings = read_settings(folders.settings)
    rows = []
    for split in settings.splits:
        manifest = read_manifest(folders.manifest(split))
        stored = _json(RESULTS / f"convert/{split}.json")
        shares = [
            f"{stored[key]:.0%} {name}"
            for key, name in (("raw_share", "raw"), ("jpg_share", "JPEG"), ("passed_through_share", "byte for byte"))
            if stored[key]
        ]
        source, beton = format_bytes(stored["source_bytes"]), format_bytes(stored["beton_bytes"])
        classes = len({row.label for row in manifest.rows})
        rows.append([split, f"{len(manifest):,}", str(classes), source, beton, ", ".join(shares)])
    mean, std = (", ".join(f"{value:.4f}" for value in values) for values in (settings.mean, settings.std))
    return [
        Table(["split", "images", "classes", "files", "beton", "stored as"], rows),
        Text(f"{settings.resolution} pixels a side; mean {mean}; standard deviation {std}, of values from 0 to 1."),
    ]


def _images(params: Params, folders: Folders) -> list[Part]:
    with _scratch() as folder:
        preview(params, folders, folder / "preview.png")
        return [
            Picture.of(folder / "preview.png", "batches as each loader gives them, and their difference"),
            Picture.of(folder / "preview/classes.png", "training images by class"),
            Picture.of(folder / "preview/counts.png", "number of images by class and split"),
        ]


def _training() -> list[Part]:
    with _scratch() as folder:
        draw_curves(RESULTS / "train", RESULTS / "speed", folder / "curves.svg")
        return [Picture.of(folder / "curves.svg", "loss, accuracy and images/s by epoch")]


def _evaluation() -> list[Part]:
    names, counts = read_confusion(RESULTS / "evaluate/confusion.csv")
    with _scratch() as folder:
        draw_confusion(names, counts, folder / "confusion.svg")
        parts: list[Part] = [Picture.of(folder / "confusion.svg", "confusion matrix")]
    with (RESULTS / "evaluate/class_accuracy.csv").open(encoding="utf-8", newline="") as file:
        classes = sorted(csv.DictReader(file), key=lambda row: float(row["accuracy"]))
    if len(classes) > MOST_CLASSES:
        parts.append(Text(f"The {MOST_CLASSES} worst of {len(classes)} classes:"))
    rows = [[row["class"], f"{float(row['accuracy']):.1%}", row["images"]] for row in classes[:MOST_CLASSES]]
    parts.append(Table(["class", "accuracy", "images"], rows))
    mistakes = RESULTS / "evaluate/worst_mistakes.png"
    if mistakes.exists():
        parts.append(Picture.of(mistakes, "the mistakes with the highest loss"))
    else:
        parts.append(Missing(f"{mistakes} is not there.", f"dvc pull {mistakes}"))
    return parts


def _experiments(params: Params) -> list[Part]:
    found = find_experiments(Path(), params)
    if not found:
        return [Missing(f"There are no experiments with {params.data.name} yet.", EXPERIMENT)]
    rows = [
        [one.name, one.changes or "none", one.loader, one.accuracy, one.images_per_second]
        for one in found[:MOST_EXPERIMENTS]
    ]
    header = ["experiment", "params that differ from those of this page", "loader", "accuracy", "images/s"]
    parts: list[Part] = [Table(header, rows, texts=3)]
    if len(found) > MOST_EXPERIMENTS:
        parts.insert(0, Text(f"The {MOST_EXPERIMENTS} most accurate of {len(found)} experiments:"))
    return parts


def _comparison() -> list[Part]:
    page = RESULTS / "compare/compare.md"
    return [markdown(page.read_text(encoding="utf-8"), page.parent)]


@contextmanager
def _scratch() -> Iterator[Path]:
    beside = Path(".dvc/tmp")  # on the disk of the page: /tmp may be small
    with tempfile.TemporaryDirectory(prefix="report-", dir=beside if beside.is_dir() else None) as folder:
        yield Path(folder)
