"""A process that compiles kernels for this one, which goes on meanwhile.

Numba compiles one kernel at a time in a process, and holds the GIL for most of it; so threads would gain nothing.
"""

import gc
import os
import pickle
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from formwork import signals
from formwork.kernels.cache import one_at_a_time
from formwork.kernels.compile import COMPILED, SWITCH

LOOK_SECONDS = 0.2  # between two looks at whether the parent is still there
COMMAND = (  # the modules are those of the parent, wherever it found them
    "import sys; sys.path[:] = sys.argv[2:]; from formwork.loading.compiler_process import main; main(int(sys.argv[1]))"
)


class CompilerProcess:
    """Calls a function in a process of its own, for the kernels that it compiles and keeps.

    The process reads nothing and says nothing, and gets no signal that a terminal sends to a group. It ends with this
    one, however that ends, and when nobody refers to this object any more.

    Args:
        function: of a module. arguments: of it; both are pickled.

    Raises:
        OSError: no process can be started.
        Exception: whatever pickle raises.
    """

    def __init__(self, function: Callable[..., None], *arguments: Any):
        task = pickle.dumps((function, arguments))
        with signals.kept_from_children():
            self._process = subprocess.Popen(
                [sys.executable, "-c", COMMAND, str(os.getpid()), *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # what goes wrong is said by this process, which compiles then itself
                env=os.environ | {SWITCH: COMPILED},
            )
        self._end = weakref.finalize(self, _end, self._process, os.getpid())  # also when the interpreter ends
        assert self._process.stdin is not None
        with suppress(BrokenPipeError), self._process.stdin as pipe:  # it has ended already
            pipe.write(task)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait(self) -> None:
        self._process.wait()


def _end(process: subprocess.Popen, parent: int) -> None:
    if os.getpid() == parent:  # and not a fork of it
        process.kill()
        process.wait()


def main(parent: int) -> None:
    threading.Thread(target=_end_with, args=[parent], name="parent", daemon=True).start()
    gc.disable()  # numba makes millions of objects, and this process ends soon
    task = sys.stdin.buffer.read()
    with one_at_a_time():  # before all that the function needs is imported: where processes wait, they are small
        function, arguments = pickle.loads(task)
        function(*arguments)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    os._exit(1)
