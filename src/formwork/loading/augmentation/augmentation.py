"""Augmentation lists: what params.yaml says, checked once, and turned into numbers batch by batch.

What happens to each image of a batch is planned here, for both loaders, from a counter-based generator keyed by (seed,
epoch, sample id, operation). The loaders only carry a plan out, so they cannot disagree on it.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from itertools import islice
from typing import Any

import numpy as np
import torch

from formwork.errors import AugmentationError, FormworkError
from formwork.loading.augmentation import FITTING, NATIVE
from formwork.loading.augmentation.base import AugmentPlan, Draw, GeometricOperation, PixelOperation
from formwork.loading.augmentation.build import build
from formwork.loading.augmentation.faults import check_image, reason
from formwork.loading.augmentation.geometry import CenterCrop, RandomCrop
from formwork.loading.augmentation.mixup import Mix, Mixing, MixOperation
from formwork.loading.augmentation.trial import (
    Extremes,
    certainly,
    check_geometry,
    check_values,
    same_random_state,
    trial_images,
    trial_sizes,
)
from formwork.params import Operations


class Augmentation:
    """A list of operations for one split, checked, and tried on a few images.

    Args:
        operations: as in params.yaml. Names in NATIVE and FFCV's own work with both loaders; any other must be a class
            of torchvision.transforms.v2, works on the training image, uint8, and has no FFCV form.
        resolution: side of the training images in pixels.
        seed: of everything random.
        key: where the list stands in params.yaml, for messages.
        other_resolutions: sides that the images have in some epochs.

    Attributes:
        geometric, pixel, torchvision: (name, operation) of each kind, in the order in which they are carried out.
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
        self.pixel: list[tuple[str, PixelOperation]] = []
        self.torchvision: list[tuple[str, Callable[..., Any]]] = []
        self.mixing: Mixing | None = None
        names = [_name(entry, key) for entry in operations]
        for name, entry in zip(names, operations, strict=True):
            if names.count(name) > 1:
                raise AugmentationError(f"{key}: {name} stands in the list more than once.")
            self.arguments[name] = entry[name] or {}
            self._add(name, build(name, entry[name], key), key)
        self._start()
        for side in dict.fromkeys((resolution, *other_resolutions)):
            self.at(side)._try()

    def at(self, resolution: int) -> "Augmentation":
        """The same list for images of another side."""
        other = copy(self)
        other.resolution = resolution
        return other

    def _add(self, name: str, operation: Any, key: str) -> None:
        """Put an operation into the list of its kind, if it may follow those that are there."""
        kinds: list[tuple[type | None, list]] = [
            (GeometricOperation, self.geometric),
            (PixelOperation, self.pixel),
            (None, self.torchvision),
        ]
        mixing = self.mixing.operations if self.mixing else {}
        if isinstance(operation, MixOperation):
            self._start()
            try:
                self.mixing = Mixing({**mixing, name: operation})
            except ValueError as error:
                raise AugmentationError(f"{key}: {error}.") from error
            return
        if mixing:
            raise AugmentationError(f"{key}: {next(iter(mixing))} must be the last of the list.")
        place = next(i for i, (kind, _) in enumerate(kinds) if kind is None or isinstance(operation, kind))
        for _, later in kinds[place + 1 :]:
            if later:
                raise AugmentationError(f"{key}: {name} must come before {later[0][0]}.")
        if name in FITTING:
            if self.geometric:
                raise AugmentationError(f"{key}: {name} must be the first of the list, and the only one of its kind.")
        else:
            self._start()
        if isinstance(operation, RandomCrop) and any(isinstance(other, RandomCrop) for _, other in self.geometric):
            raise AugmentationError(f"{key}: {name} is RandomCrop by another name: one of them is enough.")
        kinds[place][1].append((name, operation))

    def _start(self) -> None:
        """A list begins with what makes the training image, and if it does not say how, then so."""
        if not self.geometric:
            self.geometric.append(("CenterCrop", CenterCrop()))

    def _try(self) -> None:
        """Carry the list out on a few images. Raises AugmentationError: see the class."""
        native = all(name in NATIVE for name, _ in (*self.pixel, *self.torchvision))
        images = trial_images(self.resolution)
        certain = copy(self)
        certain.torchvision = [(name, certainly(operation)) for name, operation in self.torchvision]
        with same_random_state():
            heights, widths = trial_sizes()
            plan = self.plan(0, np.arange(len(heights)), heights, widths, trial=Extremes)
            for i, image in enumerate(islice(images, 1) if native else images):  # ours cannot fail
                (certain if i % 2 else self).change(image, plan, i, 0, i)

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
        for name, pixel_operation in self.pixel:
            with self.named(name):
                values = pixel_operation.draw(draw(self.seed, epoch, ids, name), self.resolution)
                plan.values.append(check_values(values, count))
        return plan

    def change(self, image: torch.Tensor, plan: AugmentPlan, i: int, epoch: int, sample: int) -> torch.Tensor:
        """Carry out what follows the geometry of row i of a plan on an image (3, S, S) uint8; gives another one.

        Raises:
            AugmentationError: an operation fails, or gives no such image.
        """
        for (name, operation), values in zip(self.pixel, plan.values, strict=True):
            with self.named(name):
                image = check_image(operation.function(image, values[i].tolist()), self.resolution)
        if not self.torchvision:
            return image
        with torch.random.fork_rng(devices=[]):
            for name, transform in self.torchvision:
                # These draw from torch's generator, so its seed stands for (seed, epoch, sample id, operation).
                torch.manual_seed(zlib.crc32(f"{self.seed} {epoch} {sample} {name}".encode()))
                with self.named(name):
                    image = check_image(transform(image), self.resolution)
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
