"""A Dask scheduler and workers as processes of their own, over TCP on the loopback device, as users start them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.processes import wait_for


@dataclass
class DaskProcesses:
    """Attributes:
    folder: for scratch files and logs.
    scheduler: its process.
    workers: those that were started, in their order.
    """

    folder: Path
    scheduler: subprocess.Popen
    workers: list[subprocess.Popen] = field(default_factory=list)

    @property
    def address(self) -> str:
        return json.loads(self._file.read_text())["address"]

    @property
    def pids(self) -> set[int]:
        """Of the workers that still run."""
        return {worker.pid for worker in self.workers if worker.poll() is None}

    @property
    def _file(self) -> Path:
        return self.folder / "scheduler.json"

    def start_worker(
        self, threads: int = 1, env: Mapping[str, str] | None = None, within: Sequence[str] = ()
    ) -> subprocess.Popen:
        """Start a worker, and wait until it has registered.

        Args:
            env: more variables.
            within: a command that runs the one that follows it.
        """
        log = self.folder / f"worker-{len(self.workers)}.log"
        command = [sys.executable, "-m", "dask", "worker", "--scheduler-file", self._file, "--nworkers", "1"]
        options = ["--nthreads", str(threads), "--no-nanny", "--no-dashboard", "--local-directory", self.folder]
        worker = _start([*within, *command, *options], log, env)
        self.workers.append(worker)
        assert wait_for(lambda: worker.poll() is not None or "Registered to" in log.read_text())
        assert worker.poll() is None, log.read_text()
        return worker

    def end(self) -> None:
        for process in (self.scheduler, *self.workers):
            end(process)


@contextmanager
def dask_processes(folder: Path, workers: int) -> Iterator[DaskProcesses]:
    """A scheduler and so many workers, until the block ends."""
    file = folder / "scheduler.json"
    command = [sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    log = folder / "scheduler.log"
    found = DaskProcesses(folder, _start([*command, "--scheduler-file", file], log))
    try:
        assert wait_for(file.exists), log.read_text()
        for _ in range(workers):
            found.start_worker()
        yield found
    finally:
        found.end()


def end(process: subprocess.Popen) -> None:
    """Kill a process as a machine that fails does."""
    process.send_signal(signal.SIGKILL)
    process.wait()


def _start(command: list, log: Path, env: Mapping[str, str] | None = None) -> subprocess.Popen:
    """In a folder that has nothing to do with the tests, and without their PYTHONPATH."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COVERAGE_"))}
    with log.open("wb") as file:
        return subprocess.Popen(
            command, cwd="/", env={**inherited, **(env or {})}, stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )
