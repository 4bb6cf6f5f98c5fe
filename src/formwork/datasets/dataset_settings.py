"""dataset.json: a dataset's entry in params.yaml, with what it leaves open worked out on the training images."""

import numpy as np

from formwork.images.row import Columns
from formwork.interim.settings import Settings
from formwork.params import Dataset, Operations

LARGEST_AUTO_RESOLUTION = 224
SMALL = 64  # pixels: in smaller images objects fill the frame, and a crop of 8 % of its area shows nothing of use


def make_settings(
    name: str,
    dataset: Dataset,
    columns: Columns,
    class_names: list[str],
    splits: list[str],
    train: np.ndarray,
    targets: np.ndarray | None = None,
) -> Settings:
    """The dataset's entry in params.yaml, with `auto` and what it leaves out worked out on the training images.

    Args:
        train: (N,) RECORD, what verification found in the training images.
        targets: (N, K) numbers to predict for them.
    """
    widths, heights = (train[side].astype(np.int64) for side in ("width", "height"))
    if dataset.resolution == "auto":
        shorter = np.median(np.minimum(widths, heights))
        resolution = min(int(shorter), LARGEST_AUTO_RESOLUTION)
    else:
        resolution = dataset.resolution
    moments = train["moments"].sum(axis=0).reshape(3, 2)
    mean, square = (moments / int((widths * heights).sum())).T
    # Images of a single value have no spread: at least one grey level, as the loaders divide by it.
    std = np.maximum(np.sqrt(np.maximum(square - mean**2, 0)), 1)
    augment = dataset.augment
    target_mean, target_std = ([], []) if targets is None else _target_statistics(targets)
    return Settings(
        name=name,
        task=columns.task,
        class_names=class_names,
        target_names=list(columns.target_names),
        target_mean=target_mean,
        target_std=target_std,
        splits=splits,
        resolution=resolution,
        mean=_rounded(mean) if dataset.mean == "auto" else dataset.mean,
        std=_rounded(std) if dataset.std == "auto" else dataset.std,
        augment_train=_default_train_augmentation(resolution) if augment.train is None else augment.train,
        augment_val=[{"CenterCrop": {}}] if augment.val is None else augment.val,
    )


def _target_statistics(targets: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each column of (N, K) numbers to predict; a deviation of 1 where all are equal.

    To six digits, beyond which they depend on the order in which a processor adds.
    """
    mean, std = targets.mean(axis=0, dtype=np.float64), targets.std(axis=0, dtype=np.float64)
    std = np.where(std > np.abs(mean) * 1e-12, std, 1)
    return _six_digits(mean), _six_digits(std)


def _six_digits(values: np.ndarray) -> list[float]:
    return [float(f"{value:.6g}") for value in values]


def _rounded(values: np.ndarray) -> list[float]:
    """8-bit values in units of 0 to 1, with four decimals."""
    return [round(float(value) / 255, 4) for value in values]


def _default_train_augmentation(resolution: int) -> Operations:
    if resolution < SMALL:
        return [{"CenterCrop": {}}, {"RandomCrop": {"padding": max(resolution // 8, 1)}}, {"RandomHorizontalFlip": {}}]
    return [{"RandomResizedCrop": {}}, {"RandomHorizontalFlip": {}}]
