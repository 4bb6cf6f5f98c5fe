"""What a finished run came to, in a few lines."""

import csv
import json
from pathlib import Path
from typing import Any

from formwork.errors import FormworkError
from formwork.images.manifest import TRAINING
from formwork.params import Params
from formwork.system import machine_id
from formwork.text import clip

ROOM = 80 - len("worst class  ")  # columns


def summary(params: Params, results: Path) -> list[tuple[str, str]]:
    """(name, text) of each line.

    Args:
        params: that the results were made with. results: folder of the results of all stages.

    Raises:
        FormworkError: a stage has not written its results yet, or they cannot be read.
    """
    try:
        train, val = (_read_json(results / f"convert/{split}.json")["images"] for split in TRAINING)
        evaluation, speed = _read_json(results / "evaluate/metrics.json"), _read_json(results / "speed/metrics.json")
        epochs, accuracies = read_curve(results / "train/plots/metrics/val/accuracy.tsv")
        elsewhere = "" if speed["machine_id"] == machine_id() else ", on another machine"
        best = epochs[accuracies.index(max(accuracies))]
        return [
            ("dataset", _named(params.data.name, f": {train:,} images to train on, {val:,} to validate")),
            ("model", f"{params.model.name}, from epoch {best} of {epochs[-1]}, in models/best.pt"),
            ("accuracy", f"{evaluation['accuracy']:.2%} on the validation split"),
            ("worst class", _named(evaluation["worst_class"], f", {evaluation['worst_class_accuracy']:.2%}")),
            ("loader", f"{speed['loader']}, {speed['images_per_second']:,.0f} images/s{elsewhere}"),
            ("waiting", f"{speed['waiting_share']:.1%} of the training time, for data"),
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise FormworkError(f"The metrics in {results} lack {error}. Run `dvc repro`.") from error


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
