"""Which code makes batches: kernels, or plain code with the same results."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING

from formwork.errors import FormworkError
from formwork.kernels import compile as compilation
from formwork.kernels.kept_only import NotKept, kept_only
from formwork.loading import plain_batches
from formwork.loading.augmentation.python import PythonOperation, is_native
from formwork.loading.base import LoaderConfig
from formwork.loading.dtypes import STORED

if TYPE_CHECKING:
    from formwork.loading.compiler_process import CompilerProcess


class BatchCode:
    """The code for the batches of one loader.

    Where kernels are not compiled yet, plain code makes the first batches, while another process compiles: kernels take
    its place as soon as they are kept on disk. This process compiles them itself, and waits for it, where they cannot
    be kept, where an operation is not ours, and where FORMWORK_KERNELS=compiled says so.

    Raises:
        AugmentationError: an operation of the user's own, or of FFCV's, cannot be compiled.
    """

    def __init__(self, config: LoaderConfig):
        self._config = config
        self._compiler: CompilerProcess | None = None
        self._module: ModuleType = plain_batches
        if not compilation.is_plain():
            self._take(start=os.environ.get(compilation.SWITCH) != compilation.COMPILED)

    @property
    def module(self) -> ModuleType:
        """What makes the next batch: batch_kernels or plain_batches."""
        if self._compiler is not None and not self._compiler.running:
            compilation.meanwhile.discard(self._compiler)
            self._compiler = None
            self._take(start=False)
        return self._module

    def wait(self) -> None:
        """Return when kernels make the next batch, if they can be compiled."""
        if self._compiler is not None:
            self._compiler.wait()
            assert self.module

    def _take(self, start: bool) -> None:
        """Take the kernels. Those that are not kept are compiled: by another process, if one is to be started and can
        be, or here."""
        try:
            arguments = self._config.views, STORED[self._config.made]
            try:
                with kept_only(), _uncollected():
                    from formwork.loading import batch_kernels

                    batch_kernels.compile_for(*arguments)
            except NotKept:
                from formwork.kernels.cache import one_at_a_time

                if start and self._start_compiler():
                    return
                with one_at_a_time():
                    batch_kernels.compile_for(*arguments)
            self._module = batch_kernels
        except (FormworkError, MemoryError):
            raise
        except Exception as error:  # whatever numba and LLVM raise
            compilation.give_up(error)

    def _start_compiler(self) -> bool:
        """Whether another process compiles now."""
        from formwork.kernels.cache import cache_folder, source_digest, why_not_kept
        from formwork.loading import batch_kernels
        from formwork.loading.compiler_process import CompilerProcess

        views = self._config.views
        operations = [operation for augmentation in views for _, operation in augmentation.steps]
        if not all(is_native(operation) or isinstance(operation, PythonOperation) for operation in operations):
            return False
        if why_not_kept(cache_folder(source_digest())):
            return False
        try:
            self._compiler = CompilerProcess(batch_kernels.compile_for, views, STORED[self._config.made])
        except Exception:  # no process more, or arguments that cannot be sent to one
            return False
        compilation.meanwhile.add(self._compiler)
        return True


@contextmanager
def _uncollected() -> Iterator[None]:
    """`with _uncollected():` nobody looks for garbage. When numba starts it makes many objects and keeps them: they
    and those of torch are looked through once afterwards, and not several times."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
