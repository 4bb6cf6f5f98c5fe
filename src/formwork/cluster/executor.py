"""An executor whose tasks run on the workers of a Dask cluster."""

import pickle
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, wait
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from formwork.code import PACKAGE
from formwork.files import writing
from formwork.params.cluster import SlurmCluster, SshCluster
from formwork.progress import progress

END_SECONDS = 30.0  # to put things away, at most


@contextmanager
def cluster_executor(
    cluster: str | SlurmCluster | SshCluster | None,
    stage: str,
    folder: Path,
    files: Sequence[Path] = (),
    whole_workers: bool = False,
) -> Iterator["ClusterExecutor | None"]:
    """`with cluster_executor(params.cluster, ...) as executor:` None where `cluster` is.

    The first task connects to the cluster, or starts it, and waits for a worker. When the block ends, tasks that wait
    are cancelled, and those in work are ended.

    Args:
        stage: whose code workers must have; see formwork.code.STAGES.
        folder: one that this stage writes to, and that workers must share; relative to the workspace.
        files: a few that workers must see as this process does, relative to the workspace or absolute.
        whole_workers: a worker gets one task at a time, which may use all its threads (see threads_of_task in
            formwork.parallel), rather than a task for each thread.
    """
    if cluster is None:
        yield None
        return
    executor = ClusterExecutor(cluster, stage, folder, files, whole_workers)
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)


class ClusterExecutor(Executor):
    """See cluster_executor. Tasks may raise what formwork.cluster.dispatch names, beside their own exceptions."""

    def __init__(
        self,
        cluster: str | SlurmCluster | SshCluster,
        stage: str,
        folder: Path,
        files: Sequence[Path],
        whole_workers: bool,
    ):
        self._arguments = cluster, stage, files, whole_workers
        self._token = secrets.token_hex(8)
        self._mark = folder / f".cluster-{self._token}"
        self._thread: threading.Thread | None = None

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        """As that of concurrent.futures; `fn` is found by its name, and takes no keywords.

        Raises:
            ClusterError: by the first task: there is no such cluster, or none of its workers can be used.
        """
        assert not kwargs
        if self._thread is None:
            self._start()
        return self._dispatcher.submit(pickle.dumps((fn, args)))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Cancels what waits in any case."""
        if self._thread is not None:
            self._dispatcher.stop()
            self._thread.join(END_SECONDS)
        self._mark.unlink(missing_ok=True)

    def _start(self) -> None:
        """Connect, and wait for the first worker. What this needs is imported now: most stages have no cluster."""
        from formwork.cluster.agreement import agreement
        from formwork.cluster.connect import import_dask
        from formwork.cluster.dispatch import Dispatcher
        from formwork.cluster.on_worker import start_of

        cluster, stage, files, whole_workers = self._arguments
        import_dask(cluster)
        with writing(self._mark):
            self._mark.parent.mkdir(parents=True, exist_ok=True)
            self._mark.write_text(self._token)
        digests = {str(path): start_of(str(path)) for path in (self._mark, *files)}
        session = {
            "token": self._token,
            "folder": str(Path.cwd()),
            "src": str(PACKAGE.parent),
            "files": {name: digest for name, digest in digests.items() if digest},
            "agreement": agreement(stage),
        }
        ready: Future[None] = Future()
        self._dispatcher = Dispatcher(cluster, session, whole_workers, ready)
        self._thread = threading.Thread(target=self._dispatcher.serve, name="cluster", daemon=True)
        self._thread.start()
        self._wait(ready)

    def _wait(self, ready: Future) -> None:
        """Wait for the first worker, with a bar once it is said that there is none."""
        with ExitStack() as stack:
            bar = None
            while not ready.done():
                if bar is None and (seconds := self._dispatcher.waiting) is not None:
                    bar = stack.enter_context(progress(total=round(seconds), name="waiting for a worker", unit="s"))
                wait([ready], timeout=1)
                if bar is not None:
                    bar.update()
        ready.result()
