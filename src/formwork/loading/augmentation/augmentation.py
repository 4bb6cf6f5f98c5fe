"""Augmentation lists: what params.yaml says, checked once, and turned into numbers batch by batch.

What happens to each image of a batch is planned here, for both loaders, from a counter-based generator keyed by (seed,
epoch, sample id, operation). The loaders only carry a plan out, so they cannot disagree on it.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from itertools import islice
from typing import Any

import numpy as np
import torch

from formwork.errors import AugmentationError, FormworkError
from formwork.loading.augmentation import FITTING
from formwork.loading.augmentation.base import AugmentPlan, Draw, GeometricOperation, PixelOperation
from formwork.loading.augmentation.build import build
from formwork.loading.augmentation.faults import check_image, reason
from formwork.loading.augmentation.geometry import CenterCrop
from formwork.loading.augmentation.mirror import on_pixels
from formwork.loading.augmentation.mixup import Mix, Mixing, MixOperation
from formwork.loading.augmentation.python import PythonOperation, is_native, same_random_state
from formwork.loading.augmentation.trial import (
    Extremes,
    check_geometry,
    check_values,
    trial_images,
    trial_sizes,
)
from formwork.params import Operations


class Augmentation:
    """A list of operations for one split, checked, and tried on a few images.

    Args:
        operations: as in params.yaml. Names in NATIVE, FFCV's own, the user's, and classes of
            torchvision.transforms.v2; see formwork.loading.augmentation.build.
        resolution: side of the training images in pixels.
        seed: of everything random.
        key: where the list stands in params.yaml, for messages.
        other_resolutions: sides that the images have in some epochs.

    Attributes:
        geometric: (name, operation) of those that the list begins with; they are done while the image is scaled.
        steps: (name, operation) of those that follow, in their order. The second of a name is called "<name> 2".
        mixing: what is done last, with pairs of images; None where the list has none of it.

    Raises:
        AugmentationError: an operation is unknown, has wrong arguments, stands in the wrong place, fails, or gives
            something else than a training image.
    """

    def __init__(
        self,
        operations: Operations,
        resolution: int,
        seed: int,
        key: str = "augment",
        other_resolutions: Sequence[int] = (),
    ):
        self.resolution = resolution
        self.seed = seed
        self.key = key
        self.arguments: dict[str, dict[str, Any]] = {}
        self.geometric: list[tuple[str, GeometricOperation]] = []
        self.steps: list[tuple[str, PixelOperation]] = []
        self.mixing: Mixing | None = None
        numbers: Counter[str] = Counter()
        for entry in operations:
            name = _name(entry, key)
            # What is random in it depends on its name alone, and not on what else is in the list.
            numbers[name] += 1
            purpose = name if numbers[name] == 1 else f"{name} {numbers[name]}"
            self.arguments[purpose] = entry[name] or {}
            self._add(name, purpose, build(name, entry[name], key), key)
        self._start()
        for side in dict.fromkeys((resolution, *other_resolutions)):
            self.at(side)._try()

    @property
    def in_python(self) -> list[str]:
        """Names of the operations that are carried out in Python, one image at a time."""
        return [name for name, operation in self.steps if isinstance(operation, PythonOperation)]

    @property
    def mixed_as(self) -> dict[str, Any]:
        """What is done last, with pairs of images: arguments by name."""
        return {name: self.arguments[name] for name in (self.mixing.operations if self.mixing else {})}

    def at(self, resolution: int) -> "Augmentation":
        """The same list for images of another side."""
        other = copy(self)
        other.resolution = resolution
        return other

    def _add(self, name: str, purpose: str, operation: Any, key: str) -> None:
        """Put an operation into the list, if it may follow those that are there."""
        mixing = self.mixing.operations if self.mixing else {}
        if isinstance(operation, MixOperation):
            self._start()
            if name in mixing:
                raise AugmentationError(f"{key}: {name} stands in the list more than once.")
            try:
                self.mixing = Mixing({**mixing, name: operation})
            except ValueError as error:
                raise AugmentationError(f"{key}: {error}.") from error
            return
        if mixing:
            raise AugmentationError(f"{key}: {next(iter(mixing))} must be the last of the list.")
        if name in FITTING:
            if self.geometric:
                raise AugmentationError(f"{key}: {name} must be the first of the list, and the only one of its kind.")
        else:
            self._start()
        if isinstance(operation, PixelOperation):
            self.steps.append((purpose, operation))
        elif not isinstance(operation, GeometricOperation):
            self.steps.append((purpose, PythonOperation(operation)))
        elif not self.steps and not any(operation.decides == other.decides != "" for _, other in self.geometric):
            self.geometric.append((purpose, operation))
        elif form := on_pixels(operation):  # after a change of pixels, or for the second time
            self.steps.append((purpose, form))
        else:
            raise AugmentationError(f"{key}: {name} must come before {self.steps[0][0]}.")

    def _start(self) -> None:
        """A list begins with what makes the training image, and if it does not say how, then so."""
        if not self.geometric:
            self.geometric.append(("CenterCrop", CenterCrop()))

    def _try(self) -> None:
        """Carry the list out on a few images. Raises AugmentationError: see the class."""
        native = all(is_native(operation) for _, operation in self.steps)
        images = trial_images(self.resolution)
        certain = copy(self)
        certain.steps = [(name, operation.certain()) for name, operation in self.steps]
        with same_random_state():
            heights, widths = trial_sizes()
            plan = self.plan(0, np.arange(len(heights)), heights, widths, trial=Extremes)
            for i, image in enumerate(islice(images, 1) if native else images):  # ours cannot fail
                (certain if i % 2 else self).change(image, plan, i)

    def plan(
        self, epoch: int, ids: np.ndarray, heights: np.ndarray, widths: np.ndarray, *, trial: type[Draw] | None = None
    ) -> AugmentPlan:
        """The plan for one batch.

        Args:
            ids: (B,) int64, what numbers are drawn for: draws, see formwork.loading.order.sample_order.
            heights, widths: (B,) int64.
            trial: where numbers are drawn from instead, to try the operations; what they do is then checked.

        Raises:
            AugmentationError: an operation fails.
        """
        draw = trial or Draw
        count = len(ids)
        plan = AugmentPlan(
            box=np.empty((count, 4), dtype=np.float32),
            window=np.empty((count, 4), dtype=np.int32),
            shift=np.zeros((count, 2), dtype=np.int32),
            flip=np.zeros(count, dtype=bool),
            fill=np.zeros(3, dtype=np.uint8),
            values=[],
        )
        for name, operation in self.geometric:
            with self.named(name):
                operation.apply(plan, heights, widths, self.resolution, draw(self.seed, epoch, ids, name))
                if trial:
                    check_geometry(plan, heights, widths)
        for name, step in self.steps:
            with self.named(name):
                values = step.draw(draw(self.seed, epoch, ids, name), self.resolution)
                plan.values.append(check_values(values, count))
        return plan

    def change(self, image: torch.Tensor, plan: AugmentPlan, i: int) -> torch.Tensor:
        """Carry out what follows the geometry of row i of a plan on an image (3, S, S) uint8; gives another one.

        Raises:
            AugmentationError: an operation fails, or gives no such image.
        """
        for (name, operation), values in zip(self.steps, plan.values, strict=True):
            with self.named(name):
                image = check_image(operation.function(image, values[i].tolist()), self.resolution)
        return image

    @contextmanager
    def named(self, name: str) -> Iterator[None]:
        """Make an AugmentationError, which names the operation, of whatever it raises."""
        try:
            yield
        except (FormworkError, MemoryError):
            raise
        except Exception as error:  # whatever torchvision, FFCV and the user's own code raise
            raise AugmentationError(
                f"{self.key}: {name}: {reason(error, self.arguments.get(name, {}), self.resolution)}."
            ) from error

    def mix(self, epoch: int, ids: np.ndarray) -> Mix:
        """How (B,) draws are mixed. Only for a list that mixes."""
        assert self.mixing is not None
        return self.mixing.draw(self.seed, epoch, ids, self.resolution)


def _name(entry: dict[str, Any], key: str) -> str:
    if len(entry) != 1:
        raise AugmentationError(f"{key}: an entry is one operation with its arguments, and {entry} has {len(entry)}.")
    return next(iter(entry))
