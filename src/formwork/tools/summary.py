"""What a finished run came to, in a few lines."""

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from formwork.earlier_parts import WORTH_REPACKING
from formwork.errors import FormworkError
from formwork.images.manifest import SPLITS
from formwork.params import Params
from formwork.system import machine_id
from formwork.text import clip, format_bytes
from formwork.tools.scores import Score, score_of

ROOM = 80 - len("worst class  ")  # columns


def summary(params: Params, results: Path) -> list[tuple[str, str]]:
    """(name, text) of each line.

    Args:
        params: that the results were made with. results: folder of the results of all stages.

    Raises:
        FormworkError: a stage has not written its results yet, or they cannot be read.
    """
    try:
        stored = {split: _read_json(results / f"convert/{split}.json") for split in SPLITS}
        images = {split: of_split["images"] for split, of_split in stored.items()}
        evaluation, speed = _read_json(results / "evaluate/metrics.json"), _read_json(results / "speed/metrics.json")
        score = score_of(evaluation)
        epochs, values = read_curve(results / f"train/plots/metrics/val/{score.name}.tsv")
        elsewhere = "" if speed["machine_id"] == machine_id() else ", on another machine"
        best = epochs[values.index(max(values) if score.higher else min(values))]
        return [
            ("dataset", _named(params.data.name, f": {_images(images)}")),
            *_dead(stored.values()),
            ("model", f"{params.model.name}, from epoch {best} of {epochs[-1]}, in models/best.pt"),
            (score.title, _scores(score, evaluation)),
            *_worst(evaluation),
            ("loader", f"{speed['loader']}, {speed['images_per_second']:,.0f} images/s{elsewhere}"),
            ("waiting", f"{speed['waiting_share']:.1%} of the training time, for data"),
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise FormworkError(f"The metrics in {results} lack {error}. Run `dvc repro`.") from error


def _images(images: Mapping[str, int]) -> str:
    test = f", {images['test']:,} to test" if images["test"] else ""
    return f"{images['train']:,} images to train on, {images['val']:,} to validate{test}"


def _dead(stored: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """What betons in parts hold in vain, where that is much."""
    in_parts = [of_split for of_split in stored if "dead_share" in of_split]
    total = sum(of_split["beton_bytes"] for of_split in in_parts)
    dead = sum(of_split["dead_share"] * of_split["beton_bytes"] for of_split in in_parts)
    if dead <= WORTH_REPACKING * total:
        return []
    return [("betons", f"{dead / total:.0%} of {format_bytes(total)} no image needs: `make repack`")]


def _scores(score: Score, evaluation: Mapping[str, Any]) -> str:
    """ "97.50% on the validation split, 96.10% on the test split" """
    titles = {"val": "validation", "test": "test"}
    values = [(title, score.of(evaluation, split)) for split, title in titles.items()]
    return ", ".join(f"{score.text(value)} on the {title} split" for title, value in values if value is not None)


def _worst(evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The class or label that the model knows worst on the validation split."""
    for kind, value in (("class", "class_accuracy"), ("label", "label_ap")):
        if f"val_worst_{kind}" in evaluation:
            text = f", {evaluation[f'val_worst_{value}']:.2%}"
            return [(f"worst {kind}", _named(evaluation[f"val_worst_{kind}"], text))]
    return []


def _named(name: str, text: str) -> str:
    """A name and what is said of it, on a line of a terminal."""
    return clip(name, ROOM - len(text)) + text


def read_curve(path: Path) -> tuple[list[int], list[float]]:
    """Epochs, from 1, and values of one of DVCLive's files.

    Raises:
        FormworkError: it is missing, or no such file.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        epochs, values = [int(row["step"]) for row in rows], [float(row[path.stem]) for row in rows]
        if not epochs:
            raise ValueError("it has no epochs")
    except FileNotFoundError as error:
        raise FormworkError(f"{path} is not there yet. Run `dvc repro`.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormworkError(f"{path} cannot be read: {error}. Run `dvc repro -f train`.") from error
    return epochs, values


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FormworkError(f"{path} is not there yet. Run `dvc repro`.") from error
    except (OSError, ValueError) as error:
        raise FormworkError(f"{path} cannot be read: {error}. Run `dvc repro -f`.") from error
