"""Augmentation lists: what params.yaml says, checked once, and turned into numbers batch by batch.

The geometry of a batch (which part of each image is scaled to the training resolution, and how it is shifted and
flipped) is planned here, for both loaders, from a counter-based generator keyed by (seed, epoch, sample id,
operation). The loaders only carry a plan out, so they cannot disagree on it.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from formwork.errors import AugmentationError, did_you_mean
from formwork.loading.rng import uniform
from formwork.params import Operations

CROP_ATTEMPTS = 10  # of torchvision.transforms.RandomResizedCrop, before it falls back to a centre crop


@dataclass
class Plan:
    """What is to be done with each image of a batch; S is the training resolution.

    Attributes:
        box: (B, 4) float32, the left, top, right and bottom edge, in source pixels, of the part scaled to S x S.
        window: (B, 4) int32, the same edges of the source pixels that may take part in the scaling.
        shift: (B, 2) int32, after the scaling pixel (y, x) shows what was at (y + shift[0], x + shift[1]), black
            where that lies outside.
        flip: (B,) bool, after the shift mirror left and right.
    """

    box: np.ndarray
    window: np.ndarray
    shift: np.ndarray
    flip: np.ndarray


@dataclass(frozen=True)
class Draw:
    """The random numbers of one operation for the images of one batch."""

    seed: int
    epoch: int
    ids: np.ndarray
    purpose: str

    def uniform(self, block: int = 0) -> np.ndarray:
        """(B, 4) float64 in [0, 1)."""
        return uniform(self.seed, self.epoch, self.ids, self.purpose, block)


class Operation(Protocol):
    """One entry of a list that both loaders know."""

    def apply(self, plan: Plan, heights: np.ndarray, widths: np.ndarray, resolution: int, draw: Draw) -> None:
        """Change `plan` in place. heights, widths: (B,) int64 source sizes in pixels."""


class Resize:
    """Scale the whole image to the training resolution, whatever its proportions."""

    def apply(self, plan: Plan, heights: np.ndarray, widths: np.ndarray, resolution: int, draw: Draw) -> None:
        plan.box[:] = plan.window[:] = np.stack([0 * widths, 0 * heights, widths, heights], axis=1)


class CenterCrop:
    """Scale the shorter side to resolution / ratio and keep the centre, as torchvision's Resize and CenterCrop do.

    224 pixels with ratio 0.875 is the usual Resize(256), CenterCrop(224).
    """

    def __init__(self, ratio: float = 1.0):
        if not 0 < ratio <= 1:
            raise ValueError(f"ratio must be above 0 and at most 1, and is {ratio}")
        self.ratio = ratio

    def apply(self, plan: Plan, heights: np.ndarray, widths: np.ndarray, resolution: int, draw: Draw) -> None:
        short = round(resolution / self.ratio)
        shorter = np.minimum(heights, widths)
        for axis, sides in ((0, widths), (1, heights)):
            scaled = sides * short // shorter  # torchvision: int(short * long / shorter)
            offset = np.rint((scaled - resolution) / 2)
            plan.box[:, axis] = offset * sides / scaled
            plan.box[:, axis + 2] = (offset + resolution) * sides / scaled
            plan.window[:, axis] = 0
            plan.window[:, axis + 2] = sides


class RandomResizedCrop:
    """A random part of the image, scaled to the training resolution; as torchvision's, from our generator.

    Args:
        scale: range of the part's area, as a share of the image's.
        ratio: range of the part's width over its height.
    """

    def __init__(self, scale: tuple[float, float] = (0.08, 1.0), ratio: tuple[float, float] = (3 / 4, 4 / 3)):
        for name, (low, high) in (("scale", scale), ("ratio", ratio)):
            if not 0 < low <= high:
                raise ValueError(f"{name} must be [low, high] with 0 < low <= high, and is {[low, high]}")
        if scale[1] > 1:
            raise ValueError(f"scale must not be above 1, and is {list(scale)}")
        self.scale = scale
        self.ratio = ratio

    def apply(self, plan: Plan, heights: np.ndarray, widths: np.ndarray, resolution: int, draw: Draw) -> None:
        low, high = np.log(self.ratio)
        # The fallback: the largest centred part whose proportions are allowed.
        w = np.minimum(widths, np.maximum(np.rint(heights * self.ratio[1]), 1)).astype(np.int64)
        h = np.minimum(heights, np.maximum(np.rint(widths / self.ratio[0]), 1)).astype(np.int64)
        y, x = (heights - h) // 2, (widths - w) // 2
        pending = np.ones(len(heights), dtype=bool)
        for attempt in range(CROP_ATTEMPTS):
            u = draw.uniform(attempt)
            area = heights * widths * (self.scale[0] + (self.scale[1] - self.scale[0]) * u[:, 0])
            aspect = np.exp(low + (high - low) * u[:, 1])
            cw, ch = np.rint(np.sqrt(area * aspect)), np.rint(np.sqrt(area / aspect))
            fits = pending & (cw >= 1) & (ch >= 1) & (cw <= widths) & (ch <= heights)
            y = np.where(fits, np.floor(u[:, 2] * (heights - ch + 1)), y)
            x = np.where(fits, np.floor(u[:, 3] * (widths - cw + 1)), x)
            h, w = np.where(fits, ch, h), np.where(fits, cw, w)
            pending &= ~fits
            if not pending.any():
                break
        plan.box[:] = plan.window[:] = np.stack([x, y, x + w, y + h], axis=1)


class RandomCrop:
    """Pad the scaled image by `padding` black pixels on every side and cut a random part of its own size out."""

    def __init__(self, padding: int):
        if padding < 1:
            raise ValueError(f"padding must be at least 1, and is {padding}")
        self.padding = padding

    def apply(self, plan: Plan, heights: np.ndarray, widths: np.ndarray, resolution: int, draw: Draw) -> None:
        offsets = np.floor(draw.uniform()[:, :2] * (2 * self.padding + 1)).astype(np.int32) - self.padding
        # A plan shifts first and flips after: shifting a mirrored image is shifting the other way before.
        offsets[:, 1] = np.where(plan.flip, -offsets[:, 1], offsets[:, 1])
        plan.shift[:] = offsets


class RandomHorizontalFlip:
    """Mirror left and right with probability p."""

    def __init__(self, p: float = 0.5):
        if not 0 <= p <= 1:
            raise ValueError(f"p must be from 0 to 1, and is {p}")
        self.p = p

    def apply(self, plan: Plan, heights: np.ndarray, widths: np.ndarray, resolution: int, draw: Draw) -> None:
        plan.flip[:] = draw.uniform()[:, 0] < self.p


FITTING: dict[str, Callable[..., Operation]] = {
    "Resize": Resize,
    "CenterCrop": CenterCrop,
    "RandomResizedCrop": RandomResizedCrop,
}
"""Operations that decide which part of an image becomes the training image. A list has one, first."""

NATIVE = FITTING | {"RandomCrop": RandomCrop, "RandomHorizontalFlip": RandomHorizontalFlip}
"""Every operation that has an FFCV form. To add one, write its class above and name it here."""


class Augmentation:
    """A checked list of operations for one split.

    Args:
        operations: as in params.yaml. Names in NATIVE work with both loaders; any other must be a class of
            torchvision.transforms.v2, works on the scaled uint8 image, and has no FFCV form.
        resolution: side of the training images in pixels.
        seed: of everything random.
        key: where the list stands in params.yaml, for messages.

    Raises:
        AugmentationError: an operation is unknown, has wrong arguments, or stands in the wrong place.
    """

    def __init__(self, operations: Operations, resolution: int, seed: int, key: str = "augment"):
        self.resolution = resolution
        self.seed = seed
        self.native: list[tuple[str, Operation]] = []
        self.torchvision: list[tuple[str, Callable[..., Any]]] = []
        names = [_name(entry, key) for entry in operations]
        for name, entry in zip(names, operations, strict=True):
            if names.count(name) > 1:
                raise AugmentationError(f"{key}: {name} stands in the list more than once.")
            if name in FITTING and self.native:
                raise AugmentationError(f"{key}: {name} must be the first of the list, and the only one of its kind.")
            if name not in NATIVE:
                self.torchvision.append((name, _build(_from_torchvision(name, key), name, entry[name], key)))
                continue
            if self.torchvision:
                raise AugmentationError(f"{key}: {name} must come before {self.torchvision[0][0]}.")
            if not self.native and name not in FITTING:
                self.native.append(("CenterCrop", CenterCrop()))
            self.native.append((name, _build(NATIVE[name], name, entry[name], key)))
        if not self.native:
            self.native.append(("CenterCrop", CenterCrop()))

    def plan(self, epoch: int, ids: np.ndarray, heights: np.ndarray, widths: np.ndarray) -> Plan:
        """The geometry of one batch: ids, heights, widths are (B,) int64."""
        count = len(ids)
        plan = Plan(
            box=np.empty((count, 4), dtype=np.float32),
            window=np.empty((count, 4), dtype=np.int32),
            shift=np.zeros((count, 2), dtype=np.int32),
            flip=np.zeros(count, dtype=bool),
        )
        for name, operation in self.native:
            operation.apply(plan, heights, widths, self.resolution, Draw(self.seed, epoch, ids, name))
        return plan


def _name(entry: dict[str, Any], key: str) -> str:
    if len(entry) != 1:
        raise AugmentationError(f"{key}: an entry is one operation with its arguments, and {entry} has {len(entry)}.")
    return next(iter(entry))


def _from_torchvision(name: str, key: str) -> Callable[..., Any]:
    from torchvision.transforms import v2  # here, because it takes seconds and most lists do not need it

    found = getattr(v2, name, None)
    if not (inspect.isclass(found) and issubclass(found, v2.Transform)):
        known = set(NATIVE) | {n for n in dir(v2) if inspect.isclass(getattr(v2, n))}
        raise AugmentationError(f"{key}: there is no operation {name!r}. {did_you_mean(name, known)}")
    return found


def _build(make: Callable[..., Any], name: str, arguments: dict[str, Any] | None, key: str) -> Any:
    try:
        return make(**(arguments or {}))
    except (TypeError, ValueError) as error:
        raise AugmentationError(f"{key}: {name}: {str(error).split('.__init__() ')[-1]}.") from error
