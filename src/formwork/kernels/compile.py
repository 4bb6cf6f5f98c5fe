"""`@kernel`: compiles a function with numba, once for all workspaces of a user; and what happens where numba cannot.

Each compiled function that Python calls has a plain form with the same results; `either` chooses between the two.
"""

import os
import threading
import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar
from weakref import WeakSet

from formwork.kernels.kept_only import NotKept

SWITCH, PLAIN, COMPILED = "FORMWORK_KERNELS", "plain", "compiled"
"""Environment variable, and its values: PLAIN takes the plain forms, COMPILED the compiled ones. Without it, a loader
takes the compiled ones as soon as they are there; see formwork.loading.batch_code."""

NEEDED = {"x86_64": ("ssse3", "f16c"), "AMD64": ("ssse3", "f16c")}
"""Instructions that kernels use, by machine, as LLVM names them. LLVM ends the process where one is not allowed."""

F = TypeVar("F", bound=Callable[..., Any])
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def _reason_against() -> str | None:
    """Why nothing can be compiled; None where it can."""
    try:
        from numba.core import config

        from formwork.kernels import cache  # noqa: F401  (before the first kernel: it tells numba where to keep them)
    except Exception as error:  # numba raises ImportError, SystemError, AttributeError: whatever does not fit it
        return f"numba cannot be used ({type(error).__name__}: {error})"
    if config.DISABLE_JIT:
        return "NUMBA_DISABLE_JIT is set"
    missing = _missing_instructions(config.CPU_FEATURES)
    return f"the CPU that numba compiles for has no {' and no '.join(missing)}" if missing else None


def _missing_instructions(features: str | None) -> list[str]:
    """Those of NEEDED that numba must not use.

    Args:
        features: NUMBA_CPU_FEATURES, as in "+ssse3,-avx"; None where numba uses all that this CPU has.
    """
    import platform

    from llvmlite import binding

    needed = NEEDED.get(platform.machine(), ())
    if features is not None:
        return [name for name in needed if f"+{name}" not in features.split(",")]
    found = binding.get_host_cpu_features()
    return [name for name in needed if not found.get(name)]


def _switched_off() -> bool:
    wanted = os.environ.get(SWITCH, "")
    if wanted not in ("", COMPILED, PLAIN):
        warnings.warn(f"{SWITCH}={wanted} means nothing: use plain or compiled. Kernels are compiled.", stacklevel=2)
    return wanted == PLAIN


class _State:
    """Whether this process takes plain forms; once it does, it stays so."""

    def __init__(self) -> None:
        self.plain = _switched_off()
        self.lock = threading.Lock()
        if not self.plain and (reason := _reason_against()):
            self.give_up(reason)

    def give_up(self, reason: str) -> None:
        with self.lock:
            if self.plain:
                return
            self.plain = True
        one_line = " ".join(reason.split())[:300]
        warnings.warn(
            f"Kernels are not compiled: {one_line}. Plain code takes their place: the same results, at "
            f"a fraction of the speed. ({SWITCH}=plain: without this warning.)",
            stacklevel=3,
        )


def _unchanged(function: F) -> F:
    return function


_state = _State()

kernel: Callable[[F], F]
"""Compiles a function that Python calls with numbers and arrays; it releases the GIL. Without the C wrapper, through
which only compiled code of others would call it."""

inner_kernel: Callable[[F], F]
"""Compiles a function that only kernels call. Skips the CPython and C wrappers (about 1 s of compilation each)."""

inlined_kernel: Callable[[F], F]
"""Puts a function into the code of each kernel that calls it: constant arguments are constants there."""

if _state.plain:
    kernel = inner_kernel = inlined_kernel = _unchanged
else:
    from numba import njit

    from formwork.kernels.cache import KernelCache

    def _kept(**options: Any) -> Callable[[F], F]:
        compiled = njit(nogil=True, error_model="numpy", **options)

        def define(function: F) -> F:
            dispatcher = compiled(function)
            dispatcher._cache = KernelCache(function)  # as numba does for cache=True, with its own
            return dispatcher

        return define

    kernel = _kept(no_cfunc_wrapper=True)
    inner_kernel = _kept(no_cpython_wrapper=True, no_cfunc_wrapper=True)
    inlined_kernel = njit(inline="always")


def is_plain() -> bool:
    """Whether plain forms are used: because FORMWORK_KERNELS says so, or because numba cannot compile."""
    return _state.plain


def give_up(error: Exception) -> None:
    """Use plain forms from now on, after a warning that names the error of the compilation."""
    _state.give_up(f"{type(error).__name__}: {error}")


meanwhile: "WeakSet[Any]" = WeakSet()
"""The processes that compile kernels for this one, as long as they run: meanwhile, `either` takes plain forms."""


def either(
    compiled: Callable[[], Callable[Arguments, Result]], plain: Callable[Arguments, Result]
) -> Callable[Arguments, Result]:
    """A function that calls a kernel, or its plain form where kernels cannot be compiled, or are not to be now.

    Args:
        compiled: returns the kernel; called when it is first needed, so that it may import modules that need numba.
        plain: takes and returns the same.
    """
    if is_plain():
        return plain
    found: list[Callable[Arguments, Result]] = []

    @wraps(plain)
    def call(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        if not is_plain() and not meanwhile:
            try:
                if not found:
                    found.append(compiled())
                return found[0](*arguments, **named)
            except NotKept:
                pass  # nothing is to be compiled now
            except MemoryError:  # the one error that a kernel raises itself
                raise
            except Exception as error:
                give_up(error)
        return plain(*arguments, **named)

    return call
