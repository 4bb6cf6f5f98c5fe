"""The sections of the report, each from the files of one stage or tool. What is not there is said, with the command
that makes it: the page can be made at any time."""

import csv
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from formwork.errors import FormworkError
from formwork.escapes import printable
from formwork.files import write_text
from formwork.folders import Folders
from formwork.images.manifest import SPLITS, Manifest, read_manifest
from formwork.images.row import SEPARATOR
from formwork.interim.settings import read_settings
from formwork.params import Params
from formwork.text import format_bytes, score
from formwork.tools.measure import commit
from formwork.tools.preview.preview import preview
from formwork.tools.report.charts import (
    draw_confusion,
    draw_curves,
    draw_label_scores,
    draw_scatter,
    draw_timesteps,
    read_confusion,
)
from formwork.tools.report.experiments import find_experiments
from formwork.tools.report.model_card import model_card
from formwork.tools.report.page import Code, Missing, Part, Picture, Section, Table, Text, markdown, render
from formwork.tools.scores import score_of
from formwork.tools.summary import summary
from formwork.yaml import dump_yaml

RESULTS = Path("results")
MODEL = Path("models/best.pt")
EXPERIMENT = "dvc exp run -S trainer.max_epochs=20"  # for example
MOST_EXPERIMENTS = 20  # rows of their table: the most accurate ones of more
CHARTS = {
    "reliability": "reliability diagram: how far the model is as sure as it is right",
    "errors": "errors of the predicted numbers",
    "robustness": "robustness: the score on spoilt images, by severity",
}
"""Pictures of evaluate, by their names."""
MOST_CLASSES = 20  # rows of the table of accuracies by class: the worst ones of more


def report(params: Params, folders: Folders, path: Path) -> None:
    """Write the page, and model_card.md beside it, where there is a model with its results.

    Raises:
        FormworkError: a file cannot be written.
    """
    made = f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC, commit {commit()}"
    write_text(path, render(f"{params.data.name}, {params.model.name}", made, sections(params, folders)))
    print(f"Report: {path}")
    card = path.with_name("model_card.md")
    try:
        text = model_card(folders, MODEL, RESULTS)
    except (FormworkError, OSError, ValueError, KeyError) as error:
        print(f"No model card: {printable(error)}")
        return
    write_text(card, text)
    print(f"Model card: {card}")


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
            for key, name in (("raw_share", "raw"), ("jpg_share", "JPEG"), ("passed_through_share", "as they were"))
            if stored[key]
        ]
        source, beton = format_bytes(stored["source_bytes"]), format_bytes(stored["beton_bytes"])
        rows.append([split, f"{len(manifest):,}", _targets(manifest), source, beton, ", ".join(shares)])
    mean, std = (", ".join(f"{value:.4f}" for value in values) for values in (settings.mean, settings.std))
    kind = {"classes": "classes", "multilabel": "labels", "regression": "numbers"}[settings.task]
    return [
        Table(["split", "images", kind, "files", "beton", "stored as"], rows),
        Text(f"{settings.resolution} pixels a side; mean {mean}; standard deviation {std}, of values from 0 to 1."),
    ]


def _targets(manifest: Manifest) -> str:
    """How many classes, labels or numbers a split has."""
    if manifest.task == "classes":
        return f"{len(np.unique(manifest.labels)):,}"
    if manifest.task == "multilabel":
        names = {name for labels in set(manifest.texts("labels")) for name in labels.split(SEPARATOR)}
        return f"{len(names - {''}):,}"
    return f"{len(manifest.columns.target_names)}"


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
        titles = draw_curves(RESULTS / "train", RESULTS / "speed", folder / "curves.svg")
        return [Picture.of(folder / "curves.svg", f"{titles}, by epoch")]


def _evaluation() -> list[Part]:
    parts: list[Part] = [_metrics(), Text("Of the validation split:")]
    with _scratch() as folder:
        if labels := _rows("label_scores.csv"):
            labels.sort(key=lambda row: float(row["average_precision"]))
            if len(labels) > MOST_CLASSES:
                parts.append(Text(f"The {MOST_CLASSES} worst of {len(labels)} labels:"))
            draw_label_scores(labels[:MOST_CLASSES], folder / "labels.svg")
            parts.append(Picture.of(folder / "labels.svg", "average precision and F1 by label, with its images"))
        elif points := _rows("scatter.csv"):
            draw_scatter(points, folder / "scatter.svg")
            parts.append(Picture.of(folder / "scatter.svg", "predicted numbers by target"))
        else:
            parts += _classes(folder)
        if steps := _rows("timesteps.csv"):
            title = score_of(_json(RESULTS / "evaluate/metrics.json")).title
            draw_timesteps(steps, title, folder / "timesteps.svg")
            parts.append(Picture.of(folder / "timesteps.svg", f"{title} by timestep; where a blank is shown, shaded"))
    charts = [RESULTS / f"evaluate/charts/{name}.png" for name in CHARTS]
    parts += [Picture.of(chart, CHARTS[chart.stem]) for chart in charts if chart.exists()]
    mistakes = RESULTS / "evaluate/worst_mistakes.png"
    if mistakes.exists():
        parts.append(Picture.of(mistakes, "the mistakes with the highest loss"))
    else:
        parts.append(Missing(f"{mistakes} is not there.", f"dvc pull {mistakes}"))
    return parts


def _metrics() -> Table:
    """All numbers of metrics.json with their intervals, a column a split."""
    metrics = _json(RESULTS / "evaluate/metrics.json")
    intervals = metrics.get("intervals", {})
    splits = [split for split in SPLITS if f"{split}_images" in metrics]
    names = [name.partition("_")[2] for name in metrics if name.startswith(f"{splits[0]}_")]
    rows = []
    for name in names:
        title, keys = name.replace("_", " "), [f"{split}_{name}" for split in splits]
        if isinstance(metrics[keys[0]], dict):  # by target
            rows += [
                [f"{title} {target}", *(_number(metrics[key][target]) for key in keys)] for target in metrics[keys[0]]
            ]
        else:
            rows.append([title, *(_number(metrics[key]) + _interval(intervals.get(key)) for key in keys)])
    titles = {"val": "validation", "test": "test"}
    return Table(["", *(titles[split] for split in splits)], rows)


def _interval(ends: Sequence[float] | None) -> str:
    return f" ({_number(ends[0])} to {_number(ends[1])})" if ends else ""


def _number(value: Any) -> str:
    return score(value) if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _rows(name: str) -> list[dict[str, str]]:
    with (RESULTS / "evaluate" / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _classes(folder: Path) -> list[Part]:
    names, counts = read_confusion(RESULTS / "evaluate/confusion.csv")
    draw_confusion(names, counts, folder / "confusion.svg")
    parts: list[Part] = [Picture.of(folder / "confusion.svg", "confusion matrix")]
    classes = sorted(_rows("class_accuracy.csv"), key=lambda row: float(row["accuracy"]))
    if len(classes) > MOST_CLASSES:
        parts.append(Text(f"The {MOST_CLASSES} worst of {len(classes)} classes:"))
    rows = [[row["class"], f"{float(row['accuracy']):.1%}", row["images"]] for row in classes[:MOST_CLASSES]]
    return [*parts, Table(["class", "accuracy", "images"], rows)]


def _experiments(params: Params) -> list[Part]:
    found = find_experiments(Path(), params)
    if not found:
        return [Missing(f"There are no experiments with {params.data.name} yet.", EXPERIMENT)]
    rows = [
        [one.name, one.changes or "none", one.loader, one.score, one.images_per_second]
        for one in found[:MOST_EXPERIMENTS]
    ]
    header = ["experiment", "params that differ from those of this page", "loader", "validation", "images/s"]
    parts: list[Part] = [Table(header, rows, texts=3)]
    if len(found) > MOST_EXPERIMENTS:
        parts.insert(0, Text(f"The best {MOST_EXPERIMENTS} of {len(found)} experiments:"))
    return parts


def _comparison() -> list[Part]:
    page = RESULTS / "compare/compare.md"
    return [markdown(page.read_text(encoding="utf-8"), page.parent)]


@contextmanager
def _scratch() -> Iterator[Path]:
    beside = Path(".dvc/tmp")  # on the disk of the page: /tmp may be small
    with tempfile.TemporaryDirectory(prefix="report-", dir=beside if beside.is_dir() else None) as folder:
        yield Path(folder)
