"""Images/s of FFCVDataLoader with one way of storing or another, and with other settings of the loader."""

import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from formwork.errors import FormworkError
from formwork.loading.base import BaseLoader, Batch, LoaderConfig, SplitFiles
from formwork.loading.factory import make_loader
from formwork.tools.measure import Rates

SECONDS = 0.25  # that one measurement takes at least, of as many epochs of the sample as it needs
CGROUP = Path("/sys/fs/cgroup/memory.max")


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> int:
    """Bytes that this process may use, the page cache included."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    with suppress(OSError, ValueError):  # without cgroups, or without a limit ("max")
        limits.append(int(CGROUP.read_text(encoding="utf-8")))
    return min(limits)


def open_loader(split: SplitFiles, options: LoaderConfig) -> BaseLoader:
    """FFCVDataLoader, and no other in its place.

    Raises:
        FormworkError: it cannot be had.
    """
    try:
        return make_loader(split, options, use_ffcv=True, fallback="error")
    except FormworkError as error:
        reason = error.__cause__ if isinstance(error.__cause__, FormworkError) else error
        raise FormworkError(f"FFCVDataLoader, whose speed is to be measured, cannot be had: {reason}") from error


def load(split: SplitFiles, options: LoaderConfig) -> np.ndarray:
    """All images of a split by sample id, (N, S, S, 3) uint8."""
    options = replace(options, order="sequential", dtype="uint8", drop_last=False)
    return np.concatenate([images.permute(0, 2, 3, 1).numpy() for images, _ in open_loader(split, options)])


def measure(contenders: Mapping[Any, tuple[SplitFiles, LoaderConfig]], rounds: int, what: str) -> dict[Any, Rates]:
    """Images/s of each, in turn as formwork.tools.measure.alternate does it; but each loader goes after its turn, as
    all together would need much memory.

    Args:
        what: is measured, for the progress bar.
    """
    rates: dict[Any, list[float]] = {name: [] for name in contenders}
    turns = [name for _ in range(rounds) for name in contenders]
    _rate(*next(iter(contenders.values())))  # compiles, or reads what was compiled
    for name in tqdm(turns, desc=what, unit=" measurements", mininterval=0.5):
        rates[name].append(_rate(*contenders[name]))
    return {name: Rates(tuple(values)) for name, values in rates.items()}


def _rate(split: SplitFiles, options: LoaderConfig) -> float:
    """Images/s in as many epochs as take SECONDS, after one that makes the buffers."""
    loader = open_loader(split, options)
    _, seconds = _timed(loader, 1)
    images, seconds = _timed(loader, max(round(SECONDS / seconds), 1))
    return images / seconds


def _timed(loader: Iterable[Batch], epochs: int) -> tuple[int, float]:
    start = time.perf_counter()
    images = sum(len(labels) for _ in range(epochs) for _, labels in loader)
    return images, time.perf_counter() - start
