"""Augmentation lists: what params.yaml says, checked once, and turned into numbers batch by batch.

What happens to each image of a batch is planned here, for both loaders, from a counter-based generator keyed by (seed,
epoch, sample id, operation). The loaders only carry a plan out, so they cannot disagree on it.
"""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from formwork import own
from formwork.errors import AugmentationError, did_you_mean
from formwork.loading.augmentation import FITTING, NATIVE
from formwork.loading.augmentation.base import AugmentPlan, Draw, GeometricOperation, PixelOperation
from formwork.loading.augmentation.geometry import CenterCrop, RandomCrop
from formwork.loading.augmentation.mixup import Mixup
from formwork.params import Operations

PREFIX = "ffcv."
"""Prefix of the names of FFCV's own operations."""


class Augmentation:
    """A checked list of operations for one split.

    Args:
        operations: as in params.yaml. Names in NATIVE and FFCV's own work with both loaders; any other must be a class
            of torchvision.transforms.v2, works on the training image, uint8, and has no FFCV form.
        resolution: side of the training images in pixels.
        seed: of everything random.
        key: where the list stands in params.yaml, for messages.

    Attributes:
        geometric, pixel, torchvision: (name, operation) of each kind, in the order in which they are carried out.
        mixup: what is done last, if it is in the list.

    Raises:
        AugmentationError: an operation is unknown, has wrong arguments, or stands in the wrong place.
    """

    def __init__(self, operations: Operations, resolution: int, seed: int, key: str = "augment"):
        self.resolution = resolution
        self.seed = seed
        self.geometric: list[tuple[str, GeometricOperation]] = []
        self.pixel: list[tuple[str, PixelOperation]] = []
        self.torchvision: list[tuple[str, Callable[..., Any]]] = []
        self.mixup: Mixup | None = None
        names = [_name(entry, key) for entry in operations]
        for name, entry in zip(names, operations, strict=True):
            if names.count(name) > 1:
                raise AugmentationError(f"{key}: {name} stands in the list more than once.")
            self._add(name, _build(name, entry[name], key), key)
        self._start()

    def _add(self, name: str, operation: Any, key: str) -> None:
        """Put an operation into the list of its kind, if it may follow those that are there."""
        kinds: list[tuple[type | None, list]] = [
            (GeometricOperation, self.geometric),
            (PixelOperation, self.pixel),
            (None, self.torchvision),
        ]
        if self.mixup:
            raise AugmentationError(f"{key}: Mixup must be the last of the list.")
        if isinstance(operation, Mixup):
            self._start()
            self.mixup = operation
            return
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

    def plan(self, epoch: int, ids: np.ndarray, heights: np.ndarray, widths: np.ndarray) -> AugmentPlan:
        """The plan for one batch. ids, heights, widths: (B,) int64."""
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
            operation.apply(plan, heights, widths, self.resolution, Draw(self.seed, epoch, ids, name))
        for name, pixel_operation in self.pixel:
            values = pixel_operation.draw(Draw(self.seed, epoch, ids, name), self.resolution)
            plan.values.append(np.ascontiguousarray(values, dtype=np.int64))
        return plan

    def shares(self, epoch: int, ids: np.ndarray) -> np.ndarray:
        """(B,) int64, see formwork.loading.augmentation.mixup.Mixup.draw. Only for a list with Mixup."""
        assert self.mixup is not None
        return self.mixup.draw(Draw(self.seed, epoch, ids, "Mixup"))


def _name(entry: dict[str, Any], key: str) -> str:
    if len(entry) != 1:
        raise AugmentationError(f"{key}: an entry is one operation with its arguments, and {entry} has {len(entry)}.")
    return next(iter(entry))


def _build(name: str, arguments: dict[str, Any] | None, key: str) -> Any:
    arguments = arguments or {}
    try:
        if name.startswith(PREFIX):
            from formwork.loading.ffcv.operations import FFCVOperation  # here, because it needs ffcv

            return FFCVOperation(name.removeprefix(PREFIX), arguments)
        return (NATIVE.get(name) or own.operations().get(name) or _from_torchvision(name, key))(**arguments)
    except (TypeError, ValueError) as error:
        raise AugmentationError(f"{key}: {name}: {str(error).split('.__init__() ')[-1]}.") from error


def _from_torchvision(name: str, key: str) -> Callable[..., Any]:
    from torchvision.transforms import v2  # here, because it takes seconds and most lists do not need it

    found = getattr(v2, name, None)
    if not (inspect.isclass(found) and issubclass(found, v2.Transform)):
        known = set(NATIVE) | set(own.operations()) | {n for n in dir(v2) if inspect.isclass(getattr(v2, n))}
        raise AugmentationError(f"{key}: there is no operation {name!r}. {did_you_mean(name, known)}")
    return found
