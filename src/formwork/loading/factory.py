"""make_loader: chooses between FFCVDataLoader and PyTorchDataLoader."""

import warnings

from formwork.errors import AugmentationError, BetonError, FormworkError
from formwork.loading.base import LoaderConfig, SplitFiles
from formwork.loading.ffcv_loader import FFCVDataLoader
from formwork.loading.pytorch_loader import PyTorchDataLoader

FALLBACK = "FFCV loading failed, falling back to PyTorch DataLoader"


def make_loader(
    split: SplitFiles, config: LoaderConfig, use_ffcv: bool, fallback: str = "warn"
) -> FFCVDataLoader | PyTorchDataLoader:
    """The loader of a split. Its attribute `name` says which it is: "ffcv" or "pytorch".

    Args:
        use_ffcv: use FFCVDataLoader, if it can be had.
        fallback: when it cannot: `warn`, and use PyTorchDataLoader; or `error`.

    Raises:
        FormworkError: neither loader can be had, or the one asked for cannot and fallback is `error`.
    """
    if not use_ffcv:
        return PyTorchDataLoader(split, config)
    try:
        return FFCVDataLoader(split, config)
    except (AugmentationError, BetonError, ImportError, OSError) as error:
        if fallback == "error":
            raise FormworkError(
                f"FFCV loading failed: {error} To use the PyTorch DataLoader then, set ffcv.fallback: warn."
            ) from error
        warnings.warn(f"{FALLBACK}: {error}", stacklevel=2)
    return PyTorchDataLoader(split, config)
