"""make_loader: the one place where a loader is chosen."""

import warnings
from typing import TYPE_CHECKING

from formwork.errors import AugmentationError, BetonError, FormworkError
from formwork.loading.common import Options, Split
from formwork.loading.torch_loader import PyTorchDataLoader

if TYPE_CHECKING:
    from formwork.loading.ffcv_loader import FFCVDataLoader

FALLBACK = "FFCV loading failed, falling back to PyTorch DataLoader"


def make_loader(
    split: Split, options: Options, use_ffcv: bool, fallback: str = "warn"
) -> "FFCVDataLoader | PyTorchDataLoader":
    """The loader of a split. Its attribute `name` says which it is: "ffcv" or "pytorch".

    Args:
        use_ffcv: use FFCVDataLoader, if it can be had.
        fallback: when it cannot: `warn`, and use PyTorchDataLoader; or `error`.

    Raises:
        FormworkError: neither loader can be had, or the one asked for cannot and fallback is `error`.
    """
    if not use_ffcv:
        return PyTorchDataLoader(split, options)
    try:
        return _ffcv(split, options)
    except (AugmentationError, BetonError) as error:
        if fallback == "error":
            raise FormworkError(
                f"FFCV loading failed: {error} To use the PyTorch DataLoader then, set ffcv.fallback: warn."
            ) from error
        warnings.warn(f"{FALLBACK}: {error}", stacklevel=2)
    return PyTorchDataLoader(split, options)


def _ffcv(split: Split, options: Options) -> "FFCVDataLoader":
    try:
        # Here, because FFCV takes seconds to import and may not be installed.
        from formwork.loading.ffcv_loader import FFCVDataLoader
    except (ImportError, OSError) as error:
        raise BetonError(f"ffcv is not installed, or not for this Python ({error}). Run `make setup`.") from error
    return FFCVDataLoader(split, options)
