"""Which task is given to which worker of a Dask cluster, and what becomes of those of a lost one: in an event loop."""

import asyncio
import itertools
import pickle
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from formwork.cluster import on_worker
from formwork.cluster.connect import connected, differences
from formwork.errors import ClusterError
from formwork.escapes import printable
from formwork.parallel import THREADS, TaskKilled
from formwork.params.cluster import SlurmCluster, SshCluster
from formwork.text import count

LOOK_SECONDS = 0.5  # between looks at which workers there are
SILENT_SECONDS = 3.0  # of waiting for a worker, before it is said
ANSWER_SECONDS = 30.0  # without an answer of the scheduler, after which it counts as lost
STOP_SECONDS = 3.0  # for the workers to end their processes
MOST_LOST = 3  # processes that a task may take with it


class WorkerTraceback(Exception):
    """Where in the process of a worker an exception was raised: the cause of that, for whoever looks for a fault."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


@dataclass(order=True)
class Task:
    """A task; they are done in the order in which they came.

    Attributes:
        payload: pickled (function, arguments).
        started: it was given to a worker before.
        lost: how each process ended that had it.
    """

    number: int
    payload: bytes = field(compare=False)
    future: Future = field(compare=False)
    started: bool = field(default=False, compare=False)
    lost: list[str] = field(default_factory=list, compare=False)


class Dispatcher:
    """Gives tasks to workers, in one event loop.

    Args:
        cluster: that of params.yaml.
        session: as formwork.cluster.on_worker.serve takes it, but for `env`.
        whole_workers: a worker gets one task at a time, rather than one for each of its threads.
        ready: gets a result when the first worker has been let in, and the exception where there is none.
    """

    def __init__(
        self,
        cluster: str | SlurmCluster | SshCluster,
        session: Mapping[str, Any],
        whole_workers: bool,
        ready: Future,
    ):
        self._cluster, self._session, self._whole, self._ready = cluster, session, whole_workers, ready
        self._loop, self._ending, self._ended = asyncio.new_event_loop(), threading.Lock(), False
        self._numbers = itertools.count()
        self._tasks: dict[int, Task] = {}
        self._queue: asyncio.PriorityQueue[Task] = asyncio.PriorityQueue()
        self._stopping = asyncio.Event()
        self._workers: dict[str, asyncio.Task] = {}
        self._usable: set[str] = set()
        self._refused: dict[str, list[str]] = {}
        self._failures: Counter[str] = Counter()
        self._without_since = time.monotonic()
        self.waiting: float | None = None  # seconds at most for a worker, once it is said that there is none
        self._error: Exception | None = None
        self._calls = 0

    def submit(self, payload: bytes) -> Future:
        """A new task, from any thread; payload: pickled (function, arguments)."""
        task = Task(next(self._numbers), payload, Future())
        with self._ending:
            if not self._ended:
                self._loop.call_soon_threadsafe(self._take, task)
                return task.future
        self._take(task)
        return task.future

    def stop(self) -> None:
        """End `serve`, from any thread."""
        with self._ending:
            if not self._ended:
                self._loop.call_soon_threadsafe(self._stopping.set)

    def serve(self) -> None:
        """Serve in this thread until `stop`, or until there is no way to go on: then every task has the reason as its
        exception."""
        try:
            self._loop.run_until_complete(self._run())
        finally:
            with self._ending:
                self._ended = True
            self._loop.run_until_complete(asyncio.sleep(0))  # what was called meanwhile
            self._loop.close()

    def _take(self, task: Task) -> None:
        if self._error is not None:
            task.future.set_exception(self._error)
            return
        self._tasks[task.number] = task
        self._queue.put_nowait(task)

    async def _run(self) -> None:
        try:
            async with connected(self._cluster) as self._at:
                try:
                    await self._watch()
                except Exception as error:  # whatever it is, nobody may wait for these tasks
                    self._fail(error)
                await self._leave_all()
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """Let every task have this exception, those that come later, too."""
        self._error = error
        for task in self._tasks.values():
            if not task.future.done():
                task.future.set_exception(error)
        if not self._ready.done():
            self._ready.set_exception(error)

    # --- Workers --------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Keep in work whichever workers there are."""
        stopping = asyncio.create_task(self._stopping.wait())
        self._without_since = time.monotonic()
        while not self._stopping.is_set():
            there = await self._look()
            for address in [address for address in self._workers if address not in there]:
                await self._leave(address)
            for address, worker in there.items():
                if address not in self._workers and address not in self._refused:
                    self._workers[address] = asyncio.create_task(self._serve_worker(address, worker))
            self._check_for_workers(there)
            await asyncio.wait({stopping, *self._workers.values()}, timeout=LOOK_SECONDS)
            for address in [address for address, serving in self._workers.items() if serving.done()]:
                self._judge(address, self._workers[address])
                await self._leave(address)

    async def _look(self) -> dict[str, Any]:
        """The workers, by address."""
        client = self._at.client
        try:
            if client.status != "running":
                raise OSError("the client connects anew")
            found = await asyncio.wait_for(client.scheduler.identity(n_workers=-1), ANSWER_SECONDS)
        except (OSError, asyncio.TimeoutError) as error:  # Dask's errors of connections are OSErrors
            raise self._scheduler_lost() from error
        if client.status != "running":  # another one at the same address, which knows nothing of our tasks
            raise self._scheduler_lost()
        return {address: worker for address, worker in found["workers"].items() if worker["status"] == "running"}

    def _scheduler_lost(self) -> ClusterError:
        return ClusterError(
            f"The connection to {self._at.name} was lost in the middle of the work. Nothing partial is left, and what "
            "was finished before need not be done again. Start the scheduler and its workers, then run this again."
        )

    async def _serve_worker(self, address: str, worker: Mapping[str, Any]) -> None:
        """Let a worker in, and keep it in work."""
        threads = worker["nthreads"]
        session = {**self._session, "env": {THREADS: str(threads if self._whole else 1)}}
        kind, value = await self._admit(address, session)
        if kind != "done":
            self._refuse(address, value if kind == "refused" else [f"cannot start a process: {value}"])
            return
        self._usable.add(address)
        self.waiting = None
        if not self._ready.done():
            self._ready.set_result(None)
        at_once = 1 if self._whole else threads + 1  # one waits there, so that no thread does
        await asyncio.gather(*(self._keep_busy(address, session) for _ in range(at_once)))

    async def _admit(self, address: str, session: dict[str, Any]) -> tuple[str, Any]:
        from distributed.versions import get_versions

        message = {"op": "versions", "packages": None}
        scheduler = self._at.client.scheduler
        versions = await scheduler.broadcast(msg=message, workers=[address], on_error="ignore")
        if address in versions and (wrong := differences(get_versions(), versions[address])):
            return "refused", [wrong]
        kind, *value = await self._call(address, session, None)
        return kind, value[0]

    def _judge(self, address: str, serving: asyncio.Task) -> None:
        """Refuse a worker that has failed too often; before, it may try again if it still is there."""
        error = None if serving.cancelled() else serving.exception()
        if error is not None and address not in self._refused:
            self._failures[address] += 1
            if self._failures[address] == MOST_LOST:
                self._refuse(address, [f"has failed {MOST_LOST} times: {type(error).__name__}: {error}"])

    def _refuse(self, address: str, reasons: list[str]) -> None:
        self._refused[address] = reasons
        self._usable.discard(address)
        say(f"WARNING: {self._refusal(address)}")

    def _refusal(self, address: str) -> str:
        return printable(f"The worker {address} is not used: it {'; it '.join(self._refused[address])}.")

    async def _leave(self, address: str) -> None:
        """Take back what a worker had in work."""
        serving = self._workers.pop(address)
        serving.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await serving
        self._usable.discard(address)

    async def _leave_all(self) -> None:
        for address in list(self._workers):
            await self._leave(address)
        for task in self._tasks.values():
            if not task.future.cancel() and not task.future.done():
                task.future.set_exception(CancelledError())
        with suppress(Exception):  # the scheduler, or a worker, is gone
            stop = self._at.client.run(ByValue(on_worker.stop), self._session["token"], on_error="ignore")
            await asyncio.wait_for(stop, STOP_SECONDS)

    def _check_for_workers(self, there: Mapping[str, Any]) -> None:
        """Say that there is no worker, and give up after a time.

        Raises:
            ClusterError: there is none, or all are refused.
        """
        now, at = time.monotonic(), self._at
        if self._usable:
            self._without_since = now
            return
        if there and there.keys() <= self._refused.keys():
            reasons = "\n".join(f"  {self._refusal(address)}" for address in sorted(there))
            raise ClusterError(f"No worker of {at.name} can be used:\n{reasons}\nSee docs/cluster.md.")
        waited = now - self._without_since
        if waited > at.wait:
            raise ClusterError(
                f"No worker of {at.name} came within {_duration(at.wait)}. {at.advice}; or set cluster: null in "
                "params.yaml to work on this machine alone."
            )
        if waited > SILENT_SECONDS and self.waiting is None:
            self.waiting = at.wait
            say(f"Waiting for a worker of {at.name}, {_duration(at.wait)} at most. {at.advice}.")

    # --- Tasks ----------------------------------------------------------------------------------

    async def _keep_busy(self, address: str, session: dict[str, Any]) -> None:
        """Give a worker one task after the other, until this is cancelled or the worker fails."""
        while True:
            task = await self._queue.get()
            if not task.started and not task.future.set_running_or_notify_cancel():
                continue
            task.started = True
            try:
                kind, *value = await self._call(address, session, task.payload)
            except BaseException:  # the worker is gone, or this is the end
                self._again(task, f"{address}: the worker was lost")
                raise
            if kind == "refused":  # code was edited, or the folder is gone, since it was let in
                self._queue.put_nowait(task)
                self._refuse(address, value[0])
                raise ClusterError(self._refusal(address))
            if kind == "died":
                self._again(task, f"{address}: {value[0]}")
            elif not task.future.done():
                self._finish(task, kind, *value)

    def _again(self, task: Task, how: str) -> None:
        """Give a task to another process, unless it has ended too many of them."""
        task.lost.append(how)
        if len(task.lost) < MOST_LOST:
            self._queue.put_nowait(task)
        elif not task.future.done():
            ended = printable(", ".join(task.lost))
            self._tasks.pop(task.number)
            task.future.set_exception(
                TaskKilled(f"{count(len(task.lost), 'process', 'processes')} ended in turn ({ended})")
            )

    def _finish(self, task: Task, kind: str, value: Any, trace: str = "") -> None:
        del self._tasks[task.number]
        if kind == "done":
            task.future.set_result(value)
        else:
            value.__cause__ = WorkerTraceback(trace)
            task.future.set_exception(value)

    async def _call(self, address: str, session: dict[str, Any], payload: bytes | None) -> tuple[Any, ...]:
        """What formwork.cluster.on_worker.serve gives there."""
        self._calls += 1
        future = self._at.client.submit(
            ByValue(on_worker.serve),
            session,
            payload,
            key=f"formwork-{self._session['token']}-{self._calls}",
            workers=[address],
            allow_other_workers=False,
            pure=False,
        )
        try:
            return pickle.loads(await future)
        finally:
            future.release()


class ByValue:
    """A function that travels with its code and arrives as itself: neither scheduler nor workers need its module."""

    def __init__(self, function: Callable[..., Any]):
        import cloudpickle

        module = sys.modules[function.__module__]
        cloudpickle.register_pickle_by_value(module)
        self._code = cloudpickle.dumps(function)
        cloudpickle.unregister_pickle_by_value(module)

    def __call__(self, *_: Any) -> None:
        raise TypeError("It runs on a worker.")

    def __reduce__(self) -> tuple[Any, ...]:
        import cloudpickle

        return cloudpickle.loads, (self._code,)


def say(text: str) -> None:
    """A line for the user, above the bars."""
    tqdm.write(text)
    sys.stdout.flush()


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"
