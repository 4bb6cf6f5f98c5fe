"""What both loaders share: what they load, how, and the form of a batch."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from formwork.datasets.manifest import Manifest
from formwork.loading.augment import Augmentation
from formwork.loading.order import BatchSampler

Batch = tuple[torch.Tensor, torch.Tensor]
"""images (B, 3, H, W) float32, normalised, channels_last; labels (B,) int64. With timesteps T > 1 (B, T, 3, H, W) and
(B, T), whose T entries are the same memory."""


@dataclass(frozen=True)
class Split:
    """Where the images of one split are.

    Attributes:
        name: "train" or "val".
        raw: folder of the original images, which the interim tree links to.
    """

    name: str
    manifest: Manifest
    beton: Path
    raw: Path


@dataclass(frozen=True)
class Options:
    """How a split is loaded; the same for both loaders.

    Attributes:
        batch_size: over all ranks.
        mean, std: by channel, in units of 0 to 1.
        order: see formwork.loading.order.sample_order.
        drop_last: leave out what does not fill the last batch; False repeats nothing and drops nothing.
        num_workers: threads of FFCVDataLoader, processes of PyTorchDataLoader; 0 is one thread, or no process.
        batches_ahead: batches prepared in advance.
        os_cache: FFCVDataLoader maps the file (True), or reads each batch into its own memory.
        timesteps: T of Batch.
        rank, world_size: of this process in distributed training.
    """

    augmentation: Augmentation
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    batch_size: int
    order: str = "sequential"
    seed: int = 0
    drop_last: bool = False
    num_workers: int = 1
    batches_ahead: int = 3
    os_cache: bool = True
    timesteps: int = 1
    rank: int = 0
    world_size: int = 1

    def sampler(self, storage_order: np.ndarray) -> BatchSampler:
        return BatchSampler(
            storage_order, self.order, self.seed, self.batch_size, self.drop_last, self.rank, self.world_size
        )

    @property
    def shift_and_scale(self) -> tuple[np.ndarray, np.ndarray]:
        """(3,) float32 each: an 8-bit value v becomes (v - shift) * scale, both operations rounded to float32."""
        mean, std = np.asarray(self.mean), np.asarray(self.std)
        return (255 * mean).astype(np.float32), (1 / (255 * std)).astype(np.float32)


class WaitClock:
    """Hands batches on in their final form, and measures how long the training loop waited for them.

    Attributes:
        seconds: waited in the current epoch.
    """

    def __init__(self, timesteps: int):
        self.timesteps = timesteps
        self.seconds = 0.0

    def watch(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        self.seconds = 0.0
        start = time.perf_counter()
        for images, labels in batches:
            self.seconds += time.perf_counter() - start
            if self.timesteps > 1:
                images = images.unsqueeze(1).expand(-1, self.timesteps, -1, -1, -1)
                labels = labels.unsqueeze(1).expand(-1, self.timesteps)
            yield images, labels
            start = time.perf_counter()
