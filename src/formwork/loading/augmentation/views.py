"""Views: the augmentations of an image that is shown more than once in a batch, decoded once for all of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from formwork.errors import AugmentationError
from formwork.loading.augmentation.augmentation import Augmentation
from formwork.loading.augmentation.base import AugmentPlan
from formwork.loading.augmentation.mixup import NO_MIX, Mix
from formwork.params.augment import MOST_VIEWS

VIEW = 1 << 56  # in a draw (see formwork.loading.order.sample_order), stands for the number of a view


class Crops(NamedTuple):
    """What the plans of a batch say of geometry, with an axis of views before the others; see AugmentPlan."""

    boxes: np.ndarray
    windows: np.ndarray
    shifts: np.ndarray
    flips: np.ndarray
    fills: np.ndarray

    @classmethod
    def of(cls, plans: Sequence[AugmentPlan]) -> "Crops":
        """Of plans by view."""
        parts = ([getattr(plan, name) for plan in plans] for name in ("box", "window", "shift", "flip", "fill"))
        # With one view, the usual case, nothing is copied.
        return cls(*(part[0][None] if len(part) == 1 else np.stack(part) for part in parts))

    def plan(self, view: int) -> AugmentPlan:
        """The plan of a view, without pixel operations."""
        boxes, windows, shifts, flips, fills = (part[view] for part in self)
        return AugmentPlan(boxes, windows, shifts, flips, fills, values=[])


@dataclass(frozen=True)
class Views:
    """What is made of each image: one training image, or several, each from random numbers of its own.

    Raises:
        AugmentationError: there are too many; or they do not mix alike, though they share their targets.
    """

    augmentations: tuple[Augmentation, ...]

    def __post_init__(self) -> None:
        first = self.augmentations[0]
        if len(self) > MOST_VIEWS:
            raise AugmentationError(f"augment.views: {len(self)} views of an image, and {MOST_VIEWS} are the most.")
        for number, other in enumerate(self.augmentations[1:], start=2):
            if other.mixed_as == first.mixed_as and (not other.mixing or other.resolution == first.resolution):
                continue
            names = ", ".join((first.mixing or other.mixing).operations)  # type: ignore[union-attr]  # one has it
            raise AugmentationError(
                f"augment.views: {names} must end the list of each view, with the same arguments and for images of the "
                f"same size, because all views of an image have the same targets. View {number} differs from the first."
            )

    def __len__(self) -> int:
        return len(self.augmentations)

    def __iter__(self) -> Iterator[Augmentation]:
        return iter(self.augmentations)

    @property
    def sides(self) -> list[int]:
        """Of the training images of each view, in pixels."""
        return [augmentation.resolution for augmentation in self]

    @property
    def mixes(self) -> bool:
        return self.augmentations[0].mixing is not None

    @property
    def in_python(self) -> list[str]:
        """See Augmentation.in_python."""
        return [name for augmentation in self for name in augmentation.in_python]

    def at(self, resolution: int) -> "Views":
        """The same views, as images of another side."""
        return Views(tuple(augmentation.at(resolution) for augmentation in self))

    def plans(self, epoch: int, draws: np.ndarray, heights: np.ndarray, widths: np.ndarray) -> list[AugmentPlan]:
        """The plan of each view; see Augmentation.plan."""
        return [
            augmentation.plan(epoch, draws + VIEW * number, heights, widths) for number, augmentation in enumerate(self)
        ]

    def mix(self, epoch: int, draws: np.ndarray) -> Mix:
        """How (B,) draws are mixed, all views of one alike; see Augmentation.mix."""
        return self.augmentations[0].mix(epoch, draws) if self.mixes else NO_MIX
