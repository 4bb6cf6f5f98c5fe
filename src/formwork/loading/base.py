"""What both loaders share: their inputs, their configuration, the form of a batch, and their base class."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from formwork.errors import FormworkError
from formwork.images.manifest import Manifest
from formwork.loading.augmentation.augmentation import Augmentation
from formwork.loading.augmentation.views import Views
from formwork.loading.device import GPU, Destination, prefetched
from formwork.loading.dtypes import is_over_time, shift_and_scale
from formwork.loading.order import BatchSampler, Position
from formwork.loading.targets import Targets

CPU = torch.device("cpu")

Batch = tuple[Any, ...]
"""Images (B, 3, H, W), channels_last, of LoaderConfig.dtype, and targets by task:

classes: (B,) int64; of mixed images (B, classes) float32, their probabilities.
multilabel: (B, labels) float32, 1 where the image has the label and 0 elsewhere; of mixed images shares of both.
regression: (B, K) float32, in the user's units; of mixed images means of both.

Where LoaderConfig.weighted says so, (B,) float32 weights of the images follow. With timesteps T > 1 each has a second
axis of T entries, which are the same memory: (B, T, 3, H, W), (B, T) or (B, T, K), and (B, T).

With n views of each image, images are (B, n, 3, H, W), the memory of one view behind that of the other, so that those
of a view, images[:, i], are channels_last; or, where views differ in size, a tuple of such tensors, one for each size
in the order in which it first comes. Targets and weights are those of the B images."""


Images = torch.Tensor | tuple[torch.Tensor, ...]
"""Of a batch: a tensor; or, of views that differ in size, one for each size."""


def once(batch: Batch) -> Batch:
    """A batch without a time axis: each image once, with its targets and its weight."""
    return tuple(part[:, 0] for part in batch) if is_over_time(batch[0]) else tuple(batch)


@dataclass(frozen=True)
class SplitFiles:
    """Where the images of one split are.

    Attributes:
        name: "train", "val" or "test".
        beton: a file, a folder of parts, or several files.
        raw: folder of the original images, which the interim tree links to.
    """

    name: str
    manifest: Manifest
    beton: Path | Sequence[Path]
    raw: Path


@dataclass(frozen=True)
class LoaderConfig:
    """How a split is loaded; the same for both loaders.

    Attributes:
        batch_size: over all ranks.
        mean, std: by channel, in units of 0 to 1.
        order: see formwork.loading.order.sample_order.
        drop_last: leave out what does not fill the last batch; False repeats nothing and drops nothing.
        num_workers: threads of FFCVDataLoader, processes of PyTorchDataLoader; 0 is one thread, or no process.
        batches_ahead: batches prepared in advance.
        os_cache: FFCVDataLoader leaves the file in the page cache (True), or takes what it has read out of it again.
        verify: when FFCVDataLoader compares a sample with its checksum: "first", "always" or "never"; see
            formwork.loading.verification.
        timesteps: T of Batch.
        dtype: of the images: float32, float16 or bfloat16, normalised, or uint8, which is to be normalised on the
            device (see formwork.loading.dtypes.normalise).
        device: where batches are wanted. A GPU normalises them itself (uint8 to float32), see formwork.loading.device;
            for any other device they stay in memory.
        rank, world_size: of this process in distributed training.
        class_names: all classes or labels, in the order of the targets; of a regression none.
        weighted: batches have the weights of their images, which the manifest must have then.
        resolution_schedule: (epoch, side in pixels) pairs: from that epoch on, counted from 0, images have that side.
            Before the first, or without any, they have that of the augmentation.
        other_views: augmentations of the further views of each image, after that of the first.
    """

    augmentation: Augmentation
    mean: Sequence[float]
    std: Sequence[float]
    batch_size: int
    order: str = "sequential"
    seed: int = 0
    drop_last: bool = False
    num_workers: int = 1
    batches_ahead: int = 3
    os_cache: bool = True
    verify: str = "first"
    timesteps: int = 1
    dtype: str = "float32"
    device: torch.device = CPU
    rank: int = 0
    world_size: int = 1
    class_names: Sequence[str] = ()
    weighted: bool = False
    resolution_schedule: tuple[tuple[int, int], ...] = ()
    other_views: tuple[Augmentation, ...] = ()

    @cached_property
    def views(self) -> Views:
        """Of each image, at the resolution of the augmentation."""
        return Views((self.augmentation, *self.other_views))

    def views_at(self, epoch: int) -> Views:
        """At the resolution of this epoch."""
        started = [side for start, side in self.resolution_schedule if start <= epoch]
        return self.views.at(started[-1]) if started else self.views

    def sampler(self, storage_order: np.ndarray, targets: Targets) -> BatchSampler:
        groups = targets.groups() if self.order == "class_balanced" else None
        return BatchSampler(
            storage_order, self.order, self.seed, self.batch_size, self.drop_last, self.rank, self.world_size, groups
        )

    @property
    def to_gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def made(self) -> str:
        """The type of the images as they are made: to a GPU they go as uint8, whatever their type is there."""
        return "uint8" if self.to_gpu else self.dtype

    @property
    def normal(self) -> np.ndarray:
        """See formwork.loading.dtypes.shift_and_scale."""
        return shift_and_scale(self.mean, self.std)


class WaitClock:
    """Measures how long the training loop waited for batches: to be made, and not for what a GPU has to do before.

    Attributes:
        seconds: waited in the current epoch.
    """

    def __init__(self) -> None:
        self.seconds = 0.0

    def watch(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        self.seconds = 0.0
        start = time.perf_counter()
        for batch in batches:
            self.seconds += time.perf_counter() - start
            yield batch
            start = time.perf_counter()


class BaseLoader:
    """Base class of both loaders: iteration, wait timing, resume.

    Each iteration is one epoch, or the rest of one. It can be left, and resumed by another process, after any batch.

    Attributes:
        sampler: which samples make up which batch, and where the next iteration starts.
        clock: how long the current epoch's batches were waited for.
        name: "ffcv" or "pytorch".
        class_names: by label, where they are known. target_names: of the numbers of a regression.
    """

    config: LoaderConfig
    sampler: BatchSampler
    name: str
    class_names: tuple[str, ...] = ()
    target_names: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.clock = WaitClock()
        self.reached: Position | None = None  # after the last batch that was yielded, while an iteration lasts

    def __len__(self) -> int:
        """Batches of an epoch."""
        return len(self.sampler)

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration be this epoch, counted from 0; otherwise it is the one after the last."""
        self.sampler.set_epoch(epoch)

    def wait_for_kernels(self) -> None:
        """Return when batches come at full speed, which is to be measured: after seconds, where nothing is compiled."""

    def batches(self) -> Iterator[Batch]:
        """The batches of one epoch, or of the rest of it, without timesteps."""
        raise NotImplementedError

    @cached_property
    def destination(self) -> Destination | None:
        """Where batches are brought after they are made; None: they stay where they are."""
        config = self.config
        if not config.to_gpu:
            return None
        dtype = "float32" if config.dtype == "uint8" else config.dtype
        return GPU(config.device, getattr(torch, dtype), config.normal)

    def __iter__(self) -> Iterator[Batch]:
        position = self.sampler.next
        steps = self.config.timesteps
        batches = self.clock.watch(self.batches())
        if self.destination is not None:
            batches = prefetched(batches, self.destination)
        for batch in batches:
            # Counted when they are yielded: those made ahead are not done.
            self.reached = position = Position(position.epoch, position.batches + 1)
            if steps > 1:
                batch = tuple(part.unsqueeze(1).expand(-1, steps, *part.shape[1:]) for part in batch)
            yield batch
        self.reached = None

    def state_dict(self) -> dict[str, Any]:
        """The position after the last batch that was yielded, however many were made ahead. It is the same for every
        rank, and for any number of them."""
        position = self.reached or self.sampler.next
        return {"epoch": position.epoch, "batches": position.batches, **self.sampler.identity}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next iteration start where the state was taken.

        Raises:
            FormworkError: the state is of other samples, or of another order of them.
        """
        identity = self.sampler.identity
        differ = [name for name, value in identity.items() if state.get(name) != value]
        if differ:
            raise FormworkError(
                "The loader cannot go on from this checkpoint, which was made with other values of "
                f"{', '.join(differ)}. Start anew, or restore the params and data that it was made with."
            )
        self.reached = None
        self.sampler.next = Position(state["epoch"], state["batches"])
