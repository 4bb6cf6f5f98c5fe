"""PyTorch Lightning imported without what no training here uses.

From torchmetrics Lightning needs two classes. The package imports a hundred metrics with them, and torchvision and much
of scipy for these. Here its own `__init__` runs only when somebody asks for another of its names.

With FORMWORK_LIGHTNING=plain, and where versions of these packages do not fit this, Lightning is imported as it is.
"""

import importlib.util
import logging
import os
import sys
from importlib import import_module
from importlib.metadata import version
from types import ModuleType

PLAIN = os.environ.get("FORMWORK_LIGHTNING") == "plain"
"""Leave Lightning as it is, here and in lightning_overhead.py."""

CLASSES = {"Metric": "torchmetrics.metric", "MetricCollection": "torchmetrics.collections"}
PACKAGES = ("lightning_fabric", "pytorch_lightning", "torchmetrics")


def import_lightning() -> None:
    """Put pytorch_lightning into sys.modules, if that takes less than an `import` of it."""
    if PLAIN or "pytorch_lightning" in sys.modules or "torchmetrics" in sys.modules:
        return
    before = set(sys.modules)
    try:
        sys.modules["torchmetrics"] = _lazy_torchmetrics()
        import_module("torchmetrics.utilities")  # first: its modules import each other, and this order works
        import_module("pytorch_lightning")
    except Exception as error:  # of any kind: other versions of these packages
        logging.getLogger(__name__).debug("torchmetrics is imported as it is", exc_info=error)
        for name in sys.modules.keys() - before:
            if name.partition(".")[0] in PACKAGES:
                del sys.modules[name]


def _lazy_torchmetrics() -> ModuleType:
    """The package, with its `__init__` not run yet."""
    spec = importlib.util.find_spec("torchmetrics")
    assert spec is not None  # Lightning requires it
    assert spec.loader is not None
    module, loader = importlib.util.module_from_spec(spec), spec.loader

    def get(name: str) -> object:
        if name in CLASSES:
            return getattr(import_module(CLASSES[name]), name)
        del module.__getattr__
        loader.exec_module(module)
        return getattr(module, name)

    needed = {"_logger": logging.getLogger("torchmetrics"), "__version__": version("torchmetrics")}
    vars(module).update(needed, __getattr__=get)
    return module
