"""The sections of the page, each from the files of one stage or tool. What is not there is said, with the command that
makes it: the page can be made at any time."""

import csv
import json
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from formwork.errors import FormworkError
from formwork.folders import Folders
from formwork.images.manifest import SPLITS, read_manifest
from formwork.interim.settings import read_settings
from formwork.params import Params
from formwork.tools.preview.preview import preview
from formwork.tools.report.figures import draw_confusion, draw_curves, read_confusion
from formwork.tools.report.parts import Code, Missing, Part, Picture, Section, Table, Text, markdown

RESULTS = Path("results")
BENCHMARKS = Path("docs/benchmarks.md")
MOST_CLASSES = 20  # rows of the table of accuracies by class: the worst ones of more


def sections(params: Params, folders: Folders) -> list[Section]:
    """All of them, in the order of the page."""
    return [
        Section("Summary", _try(lambda: _summary(params), "dvc repro")),
        Section("Data", _try(lambda: _data(folders), "dvc repro link convert")),
        Section("Images", _try(lambda: _images(params, folders), "dvc repro link convert")),
        Section("Training", _try(_training, "dvc repro train")),
        Section("Evaluation", _try(_evaluation, "dvc repro evaluate")),
        Section("Loaders compared", _try(_comparison, "make compare")),
        Section("Benchmark", _try(_benchmark, "make bench")),
        Section("Parameters", [Code("All of them, as they were when this page was made", _yaml(params))]),
    ]


def _yaml(params: Params) -> str:
    """Without the settings of other datasets."""
    values = params.model_dump()
    values["datasets"] = {name: value for name, value in values["datasets"].items() if name == params.data.name}
    return yaml.safe_dump(values, sort_keys=False)


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
    found = _json(RESULTS / "evaluate/metrics.json")
    trained = _json(RESULTS / "train/metrics.json")
    speed = _json(RESULTS / "speed/metrics.json")
    rows = [
        ["dataset", params.data.name],
        ["model", params.model.name],
        ["accuracy on the validation split", f"{found['accuracy']:.2%} of {found['images']:,} images"],
        ["worst class", f"{found['worst_class']}, {found['worst_class_accuracy']:.2%}"],
        ["loader used", str(trained["loader"])],
        ["images/s in the median epoch", f"{speed['images_per_second']:,.0f}"],
        ["share of it spent waiting for data", f"{speed['waiting_share']:.1%}"],
    ]
    return [Table(["", ""], rows, numbers=False)]


def _data(folders: Folders) -> list[Part]:
    settings = read_settings(folders.interim / "dataset.json")
    rows = []
    for split in SPLITS:
        manifest = read_manifest(folders.interim / f"{split}.csv")
        stored = _json(RESULTS / f"convert/{split}.json")
        shares = [
            f"{stored[key]:.0%} {name}"
            for key, name in (("raw_share", "raw"), ("jpg_share", "JPEG"), ("passed_through_share", "byte for byte"))
            if stored[key]
        ]
        source, beton = stored["source_bytes"] / 1e6, stored["beton_bytes"] / 1e6
        classes = len({row.label for row in manifest.rows})
        rows.append([split, f"{len(manifest):,}", str(classes), f"{source:,.1f}", f"{beton:,.1f}", ", ".join(shares)])
    mean, std = (", ".join(f"{value:.4f}" for value in values) for values in (settings.mean, settings.std))
    return [
        Table(["split", "images", "classes", "files, MB", "beton, MB", "stored"], rows),
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


def _comparison() -> list[Part]:
    page = RESULTS / "compare/compare.md"
    return [markdown(_body(page.read_text(encoding="utf-8")), page.parent)]


def _benchmark() -> list[Part]:
    text = BENCHMARKS.read_text(encoding="utf-8")
    found = re.search(r"<!-- begin loader -->(.*?)<!-- end loader -->", text, re.DOTALL)
    return [markdown(found[1] if found else "", BENCHMARKS.parent)]


def _body(text: str) -> str:
    """A page without its first heading: the section has one."""
    return re.sub(r"\A\s*# .*\n", "", text)


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="report-") as folder:
        yield Path(folder)
