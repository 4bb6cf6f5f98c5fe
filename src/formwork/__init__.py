"""Formwork: versioned image datasets, FFCV betons and reproducible training.

In a notebook or another project, with a repository at hand:

    import formwork

    for images, labels in formwork.open_loader("train", repo="path/to/repository"):
        ...
    formwork.load_model("models/best.pt").predict(["photo.jpg"])

docs/library.md has the rest. Each name is imported when it is first used: `import formwork` itself loads nothing else.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from formwork.version import __version__

if TYPE_CHECKING:
    from formwork.api.beton import read_beton
    from formwork.api.loader import open_loader
    from formwork.errors import FormworkError
    from formwork.params import load_params
    from formwork.prediction.model import load_model

__all__ = ["FormworkError", "__version__", "load_model", "load_params", "open_loader", "read_beton"]

_MODULES = {
    "FormworkError": "formwork.errors",
    "load_model": "formwork.prediction.model",
    "load_params": "formwork.params",
    "open_loader": "formwork.api.loader",
    "read_beton": "formwork.api.beton",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'formwork' has no attribute {name!r}. It has {', '.join(sorted(_MODULES))}.")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
