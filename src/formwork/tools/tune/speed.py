"""Images/s of FFCVDataLoader with one way of storing or another, and with other settings of the loader."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from formwork.errors import FormworkError
from formwork.loading.base import BaseLoader, Batch, LoaderConfig, SplitFiles
from formwork.loading.factory import make_loader
from formwork.progress import progress
from formwork.tools.measure import Rates

SECONDS = 0.25  # that one measurement takes at least, of as many epochs of the sample as it needs


def open_loader(split: SplitFiles, config: LoaderConfig) -> BaseLoader:
    """FFCVDataLoader; never falls back to PyTorchDataLoader.

    Raises:
        FormworkError: it cannot be had.
    """
    try:
        loader = make_loader(split, config, use_ffcv=True, fallback="error")
    except FormworkError as error:
        reason = error.__cause__ if isinstance(error.__cause__, FormworkError) else error
        raise FormworkError(f"FFCVDataLoader, whose speed is to be measured, cannot be had: {reason}") from error
    loader.wait_for_kernels()
    return loader


def load(split: SplitFiles, config: LoaderConfig) -> np.ndarray:
    """All images of a split by sample id, (N, S, S, 3) uint8."""
    config = replace(config, order="sequential", dtype="uint8", drop_last=False)
    return np.concatenate([images.permute(0, 2, 3, 1).numpy() for images, *_ in open_loader(split, config)])


def measure(contenders: Mapping[Any, tuple[SplitFiles, LoaderConfig]], rounds: int, what: str) -> dict[Any, Rates]:
    """Images/s of each, in turn as formwork.tools.measure.alternate does it; but each loader goes after its turn, as
    all together would need much memory.

    Args:
        what: is measured, for the progress bar.
    """
    rates: dict[Any, list[float]] = {name: [] for name in contenders}
    turns = [name for _ in range(rounds) for name in contenders]
    _rate(*next(iter(contenders.values())))  # compiles, or reads what was compiled
    for name in progress(turns, name=what, unit="measurements"):
        rates[name].append(_rate(*contenders[name]))
    return {name: Rates(tuple(values)) for name, values in rates.items()}


def _rate(split: SplitFiles, config: LoaderConfig) -> float:
    """Images/s in as many epochs as take SECONDS, after one that makes the buffers."""
    loader = open_loader(split, config)
    _, seconds = _timed(loader, 1)
    images, seconds = _timed(loader, max(round(SECONDS / seconds), 1))
    return images / seconds


def _timed(loader: Iterable[Batch], epochs: int) -> tuple[int, float]:
    start = time.perf_counter()
    images = sum(len(labels) for _ in range(epochs) for _, labels, *_ in loader)
    return images, time.perf_counter() - start
