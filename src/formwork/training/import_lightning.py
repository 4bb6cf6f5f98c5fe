"""Lightning and torch's optimisers without what no training here uses: a second of CPU time less in each process.

- From torchmetrics Lightning needs two classes. The package imports a hundred metrics with them, and torchvision and
  much of scipy for these.
- Of torch's compiler Lightning asks whether a model is compiled, and optimisers that it leave them alone.

The rest is imported when somebody uses it: see formwork/lazy.py. With FORMWORK_LIGHTNING=plain, and where versions of
these packages do not fit this, they are imported as they are.
"""

import logging
import os
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from types import FunctionType
from typing import Any

from formwork.lazy import import_lazily

PLAIN = os.environ.get("FORMWORK_LIGHTNING") == "plain"
"""Leave Lightning and torch as they are, here and in lightning_overhead.py."""


def prepare() -> None:
    """Call it before the first import of pytorch_lightning."""
    if PLAIN:
        return
    import torch  # noqa: F401  # the package that the next is in

    import_lazily("torch._dynamo", OptimizedModule=_optimized_module, disable=_disable, graph_break=_graph_break)
    import_lazily("torchmetrics", Metric=_metric, MetricCollection=_metric_collection, **_TORCHMETRICS)


class _Compiled(type):
    def __instancecheck__(cls, value: object) -> bool:
        compiled = getattr(sys.modules.get("torch._dynamo.eval_frame"), "OptimizedModule", None)
        return compiled is not None and isinstance(value, compiled)


def _optimized_module() -> type:
    """A class of all compiled modules: none, as long as the compiler has not been imported."""
    return _Compiled("OptimizedModule", (), {})


def _disable() -> Callable[..., Any]:
    def disable(function: object = None, *options: Any, **named: Any) -> Any:
        """The function, which the compiler, from when on it is there, leaves as it is."""
        if not isinstance(function, FunctionType):
            return import_module("torch._dynamo.decorators").disable(function, *options, **named)
        real: list[Callable] = []

        def call(*arguments: Any, **keywords: Any) -> Any:
            if not real and (disabled := getattr(sys.modules.get("torch._dynamo.decorators"), "disable", None)):
                real.append(disabled(function, *options, **named))
            return (real[0] if real else function)(*arguments, **keywords)

        return call

    return disable


def _graph_break() -> Callable[..., None]:
    return lambda *arguments, **named: None  # as that of the compiler does outside of what it compiles


def _metric() -> object:
    import_module("torchmetrics.utilities")  # first: modules of torchmetrics import each other, and this order works
    return import_module("torchmetrics.metric").Metric


def _metric_collection() -> object:
    _metric()
    return import_module("torchmetrics.collections").MetricCollection


_TORCHMETRICS = {"_logger": lambda: logging.getLogger("torchmetrics"), "__version__": lambda: version("torchmetrics")}
