"""How good the outputs of each timestep of a recurrent model are."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from formwork.formats import write_csv
from formwork.tasks.base import Task


class StepScores:
    """Sums over the images of a split, for each timestep."""

    def __init__(self, task: Task):
        self.task = task
        self.count = 0
        self.sums: list[dict[str, np.ndarray]] = []
        self.kept: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Count a batch: outputs (B, T, K) and targets (B, ...)."""
        self.count += len(outputs)
        for step, of_step in enumerate(outputs.unbind(dim=1)):
            measured = {
                "loss": self.task.losses(of_step, targets).double().sum(),
                **self.task.measure(of_step, targets),
            }
            if step == len(self.sums):
                self.sums.append({})
            for name, value in measured.items():
                self.sums[step][name] = self.sums[step].get(name, 0) + np.atleast_1d(value.cpu().numpy())
        if self.task.val_metrics:  # of all images at once
            answers = [self.task.answers(of_step).cpu().numpy() for of_step in outputs.unbind(dim=1)]
            self.kept.append((np.stack(answers), targets.cpu().numpy()))

    def by_step(self) -> list[tuple[float, float]]:
        """The score of the task (accuracy, mAP or MAE) and the mean loss of each timestep; none of a model without."""
        metrics = [self.task.summarise(sums, self.count) for sums in self.sums]
        if self.kept:
            answers = np.concatenate([answers for answers, _ in self.kept], axis=1)
            targets = np.concatenate([targets for _, targets in self.kept])
            for of_step, found in zip(answers, metrics, strict=True):
                found |= self.task.summarise_val(of_step, targets)
        return [
            (found[self.task.score], float(sums["loss"][0]) / self.count)
            for found, sums in zip(metrics, self.sums, strict=True)
        ]


def write_timesteps(path: Path, shown: Iterable[bool], by_split: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    """A row a timestep: its number, whether it shows the image (1) or a blank (0), score and loss of each split.
    Without time there is a header alone, of which DVC draws nothing.

    Args:
        by_split: from StepScores.by_step.
    """
    header = ["step", "shown", *(f"{split}_{name}" for split in by_split for name in ("score", "loss"))]
    rows = [
        (step, int(image), *(f"{value:.6f}" for of_split in values for value in of_split))
        for step, (image, *values) in enumerate(zip(shown, *by_split.values(), strict=False), start=1)
    ]
    write_csv(path, [header, *rows])
