"""PyTorch Lightning imported without what no training here uses: 0.5 instead of 2 s of CPU time, beside torch itself.

- From torchmetrics Lightning needs two classes. The package imports a hundred metrics with them, and torchvision and
  scipy for these. Its own `__init__` runs only when somebody asks for another of its names.
- From torch._dynamo, the compiler behind torch.compile, it needs a class for isinstance and a decorator for compiled
  modules. PyTorch's optimisers import all of it for that decorator, too. torch.compile works as ever; but Lightning's
  logging would be compiled with a whole LightningModule, and an optimiser's bookkeeping with its step.

With FORMWORK_LIGHTNING=plain, and where versions of these packages do not fit this, Lightning is imported as it is.
"""

import importlib.util
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

import torch

PLAIN = os.environ.get("FORMWORK_LIGHTNING") == "plain"
"""Leave Lightning as it is, here and in lightning_overhead.py."""

CLASSES = {"Metric": "torchmetrics.metric", "MetricCollection": "torchmetrics.collections"}
PACKAGES = ("lightning_fabric", "pytorch_lightning", "torchmetrics")


def import_lightning() -> None:
    """Put pytorch_lightning into sys.modules, if it can be had for less than an `import` of it takes."""
    if PLAIN or "pytorch_lightning" in sys.modules:
        return
    before = set(sys.modules)
    try:
        if "torchmetrics" not in sys.modules:
            sys.modules["torchmetrics"] = _lazy_torchmetrics()
            import_module("torchmetrics.utilities")  # the one order in which the imports of its modules are no circle
        with _dynamo_stand_in():
            import_module("pytorch_lightning")
        _optimisers_without_dynamo()
    except Exception as error:  # of any kind: other versions of these packages
        logging.getLogger(__name__).debug("importing all of Lightning", exc_info=error)
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

    vars(module).update(_logger=logging.getLogger("torchmetrics"), __getattr__=get)
    return module


class _Compiled(type):
    """Class of OptimizedModule's stand-in: an object of the real one can be there only if torch._dynamo is."""

    def __instancecheck__(cls, instance: object) -> bool:
        dynamo = sys.modules.get("torch._dynamo")
        return dynamo is not None and isinstance(instance, dynamo.OptimizedModule)


class _OptimizedModule(metaclass=_Compiled):
    pass


def _undecorated(function: Any, *_: object, **__: object) -> Any:
    return function


@contextmanager
def _dynamo_stand_in() -> Iterator[None]:
    name = "torch._dynamo"
    if name in sys.modules:
        yield
        return
    stand_in = ModuleType(name)
    vars(stand_in).update(OptimizedModule=_OptimizedModule, disable=_undecorated)
    sys.modules[name] = stand_in
    try:
        yield
    finally:
        del sys.modules[name]
        vars(torch).pop("_dynamo", None)


def _optimisers_without_dynamo() -> None:
    """Fills torch._disable_dynamo's cache of decorated methods with the methods themselves."""
    for method in vars(torch.optim.Optimizer).values():
        function = getattr(method, "__wrapped__", None)
        if function is not None:
            vars(function).setdefault("__dynamo_disable", function)
