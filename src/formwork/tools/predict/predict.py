"""predict: what a trained model says of each of many images, written as a table while they are read."""

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from formwork.errors import FormworkError
from formwork.escapes import printable
from formwork.files import check_writable
from formwork.loading.worker_loader import BatchDataset, WorkerLoader
from formwork.prediction.model import Model
from formwork.prediction.preprocessing import Preprocessing
from formwork.progress import progress
from formwork.text import count
from formwork.tools.predict.arguments import Named, find_images
from formwork.tools.predict.reading import training_image
from formwork.tools.predict.table import Table, check_output, open_table

TASK_IMAGES = 16  # that a process decodes at a time: few enough for several processes to share a few photos
SHOWN = 3  # problems that are told, beside their number


class Result(NamedTuple):
    """predicted: number of images with a prediction. problems: number of others. first: some of them, for people."""

    predicted: int
    problems: int
    first: list[str]


def predict(
    model: Model, arguments: Sequence[str], output: Path, top: int = 1, batch_size: int = 64, workers: int = 0
) -> Result:
    """Write a table of predictions; see formwork.tools.predict.table.

    Images are decoded by other processes, a few batches in advance, and rows are written as they come: of all images
    at once, only the names are in memory. The order, and with it the table, is the same for any number of processes.

    Args:
        arguments: see formwork.tools.predict.arguments.find_images.
        output: a CSV or a Parquet file.
        top: how many of the likeliest classes there are columns for.
        batch_size: images that go through the network together.
        workers: processes; 0: this one decodes.

    Raises:
        FormworkError: the file cannot be written, or a process was killed. Then the file is as it was before.
    """
    check_output(output)
    check_writable(output)
    parts = find_images(arguments)
    total = sum(len(part.paths) for part in parts)
    images = (image for part in parts for image in part)
    table, predicted = Table(model.settings, top), 0
    first: list[str] = []
    with open_table(output, model.settings) as writer, progress(total=total, name="predict", unit="images") as bar:
        for batch, problems, pixels in _batches(model.preprocessing, images, total, batch_size, workers):
            answers = model.answers(pixels) if len(pixels) else np.empty((0, model.settings.outputs), np.float32)
            rows = table.rows([image.shown for image in batch], problems, answers)
            writer.write(rows)
            bar.update(len(batch))
            errors = rows["error"].to_pylist()
            predicted += errors.count(None)
            wrong = ((image.shown, error) for image, error in zip(batch, errors, strict=True) if error)
            first += [printable(f"{path}: {error}") for path, error in islice(wrong, SHOWN - len(first))]
    return Result(predicted, total - predicted, first)


def summary(result: Result, output: Path) -> str:
    """What came of it, for people."""
    lines = [f"{printable(output)}: predictions for {count(result.predicted, 'image')}."]
    if result.problems:
        lines[0] += f" {count(result.problems, 'row')} without: its column `error` says why."
        lines += [f"  {line}" for line in result.first]
        more = result.problems - len(result.first)
        lines += [f"  ... and {count(more, 'more', 'more')}"] if more else []
    return "\n".join(lines)


class _Task(NamedTuple):
    """images: each with its number. ends_batch: whether it is the last of a batch."""

    images: list[tuple[int, Named]]
    ends_batch: bool


class _TrainingImages(BatchDataset):
    """What the network is given of the images of a task, and the problem of each, "" where there is none."""

    def __init__(self, preprocessing: Preprocessing):
        self._preprocessing = preprocessing

    def make(self, task: _Task) -> tuple[torch.Tensor, list[str]]:
        found = [training_image(self._preprocessing, image, number) for number, image in task.images]
        pixels = self._preprocessing.batch(each for each in found if isinstance(each, torch.Tensor))
        return pixels, [each if isinstance(each, str) else "" for each in found]


def _batches(
    preprocessing: Preprocessing, images: Iterator[Named], total: int, batch_size: int, workers: int
) -> Iterator[tuple[list[Named], list[str], torch.Tensor]]:
    """Batches of images, the problem of each, and the training images of those without, (B, 3, S, S) uint8."""
    under_way: deque[_Task] = deque()

    def tasks() -> Iterator[_Task]:
        numbered = enumerate(images)
        while batch := list(islice(numbered, batch_size)):
            for start in range(0, len(batch), TASK_IMAGES):
                task = _Task(batch[start : start + TASK_IMAGES], start + TASK_IMAGES >= len(batch))
                under_way.append(task)
                yield task

    workers = min(workers, -(-total // TASK_IMAGES)) if total > TASK_IMAGES else 0
    loader = WorkerLoader(_TrainingImages(preprocessing), tasks(), workers, 2 * workers)
    batch: list[Named] = []
    problems: list[str] = []
    parts: list[torch.Tensor] = []
    try:
        for pixels, of_task in loader.batches():
            task = under_way.popleft()
            batch += [image for _, image in task.images]
            problems += of_task
            parts.append(pixels)
            if task.ends_batch:
                yield batch, problems, torch.cat(parts)
                batch, problems, parts = [], [], []
    except FormworkError as error:
        raise FormworkError(f"{error} For predict.py, these are --workers and --batch-size.") from error
