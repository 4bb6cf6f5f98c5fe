"""The cluster of params.yaml as a client of Dask, or one sentence on why there is none and what to do."""

import asyncio
import logging
import signal
import socket
import sys
import warnings
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Any

from formwork.errors import ClusterError, did_you_mean
from formwork.escapes import printable
from formwork.params.cluster import ADDRESS, Slurm, SlurmCluster, SshCluster

REACH_SECONDS = 5  # for a bare connection
CONNECT_SECONDS = 10
CLOSE_SECONDS = 10
WAIT_SECONDS = 60.0  # for the first worker; jobs of SLURM have `wait_minutes`
IDLE = (
    "10 minutes"  # without a task, after which a scheduler that was started by SSH ends: its stage may have been killed
)
LOGS = ".dvc/tmp/cluster"  # of SLURM's jobs; git ignores it
CHATTY = ("distributed", "dask", "dask_jobqueue", "tornado", "asyncio", "asyncssh", "bokeh")
PACKAGES = {"address": ("distributed",), "ssh": ("distributed", "asyncssh"), "slurm": ("distributed", "dask_jobqueue")}
TO_LOCAL = "or set cluster: null in params.yaml to work on this machine alone"


@dataclass(frozen=True)
class Connected:
    """A cluster.

    Attributes:
        client: distributed.Client, asynchronous.
        name: for people.
        wait: seconds to wait for a worker, where there is none.
        advice: how a worker is started, or why there may be none; a sentence.
    """

    client: Any
    name: str
    wait: float
    advice: str


@asynccontextmanager
async def connected(cluster: str | SlurmCluster | SshCluster) -> AsyncIterator[Connected]:
    """`async with connected(params.cluster) as found:` what was started for it ends with the block.

    Raises:
        ClusterError: there is no such cluster, or it cannot be started.
    """
    if isinstance(cluster, str):
        await _reach(cluster)
        advice = f"`dask worker {cluster}` starts one"
        async with _client(cluster, cluster) as client:
            yield Connected(client, f"the scheduler {printable(cluster)}", WAIT_SECONDS, advice)
    elif isinstance(cluster, SshCluster):
        async with _started(_ssh(cluster.ssh), f"the SSH hosts {', '.join(cluster.ssh)}") as (client, name):
            yield Connected(client, name, WAIT_SECONDS, "They were started and have ended")
    else:
        workers = cluster.slurm.workers
        async with _started(_slurm(cluster.slurm), "SLURM") as (client, name):
            client.cluster.adapt(minimum=workers, maximum=workers)  # a job whose time is up is replaced
            advice = f"`squeue --me` shows their jobs, and {LOGS} has their logs"
            yield Connected(client, name, 60 * cluster.slurm.wait_minutes, advice)


def import_dask(cluster: str | SlurmCluster | SshCluster) -> None:
    """Import what `connected` needs, in the main thread, as one of the packages changes how Ctrl-C is handled.

    Raises:
        ClusterError: Dask is not installed.
    """
    kind = "address" if isinstance(cluster, str) else "ssh" if isinstance(cluster, SshCluster) else "slurm"
    packages = PACKAGES[kind]
    lacking = [name.replace("_", "-") for name in packages if find_spec(name) is None]
    if lacking:
        raise ClusterError(
            f"cluster in params.yaml needs {' and '.join(lacking)}, which this Python ({sys.executable}) lacks. Run "
            f"`{sys.executable} -m pip install 'formwork[cluster]'` or `make setup`, {TO_LOCAL}."
        )
    import distributed  # noqa: F401 - it makes the loggers that are to be quiet

    if kind == "slurm":
        with _handler_kept(signal.SIGINT):
            import dask_jobqueue  # noqa: F401
    _keep_quiet()


@contextmanager
def _handler_kept(number: signal.Signals) -> Iterator[None]:
    before = signal.getsignal(number)
    yield
    if signal.getsignal(number) is not before:
        signal.signal(number, before)


def _keep_quiet() -> None:
    """Keep what Dask logs and warns of from the terminal: what matters of it is said in our words."""
    for name in [*logging.root.manager.loggerDict, *CHATTY]:
        if name.split(".")[0] in CHATTY:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    for name in CHATTY:
        warnings.filterwarnings("ignore", module=rf"{name}\b")


async def _reach(address: str) -> None:
    """Ask for a connection before Dask does, which would try for long and say little."""
    found = ADDRESS.fullmatch(address)
    assert found is not None  # params.yaml has been checked
    place = found["host"].strip("[]"), int(found["port"])
    try:
        (await asyncio.to_thread(socket.create_connection, place, REACH_SECONDS)).close()
    except OSError as error:
        reason = error.strerror or f"no answer within {REACH_SECONDS} s"
        raise ClusterError(
            f"No Dask scheduler can be reached at {printable(address)}: {reason}. On that machine, start one with "
            f"`dask scheduler --port {place[1]}`, and workers with `dask worker {address}`; {TO_LOCAL}."
        ) from error


@asynccontextmanager
async def _client(target: Any, name: str) -> AsyncIterator[Any]:
    """A client of a scheduler, by address or as Dask's cluster object."""
    import dask
    from distributed import Client

    with dask.config.set({"distributed.comm.timeouts.connect": f"{CONNECT_SECONDS}s"}):
        client = Client(target, asynchronous=True, timeout=CONNECT_SECONDS, set_as_default=False)
        try:
            try:
                await asyncio.wait_for(_awaited(client), CONNECT_SECONDS)
            except Exception as error:  # whatever Dask makes of it
                raise ClusterError(
                    f"What listens at {printable(name)} does not answer as a Dask scheduler: {_words(error)}. Check "
                    "the address, and whether it is tcp or tls (docs/cluster.md)."
                ) from error
            await _check_versions(client, name)
            yield client
        finally:
            with suppress(Exception):  # it is gone
                await asyncio.wait_for(client.close(), CLOSE_SECONDS)


async def _awaited(what: Any) -> None:
    """For asyncio.wait_for, which takes no other awaitable objects."""
    await what


async def _check_versions(client: Any, name: str) -> None:
    """Dask's own protocol is that of its version, and functions travel as the bytecode of this Python."""
    from distributed.versions import get_versions

    wrong = differences(get_versions(), await client.scheduler.versions())
    if wrong:
        raise ClusterError(
            f"The Dask scheduler {printable(name)} {wrong}. Start scheduler and workers from the same environment as "
            "this stage."
        )


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    """In which of its versions a process of Dask is no match; "" where it is one. Both as `get_versions` gives them."""

    def known(of: dict[str, Any]) -> dict[str, str]:
        python = ".".join(of["host"]["python"].split(".")[:2])
        return {"Python": python, "distributed": of["packages"]["distributed"]}

    here, there = known(ours), known(theirs)
    wrong = [f"has {name} {there[name]}, where this machine has {here[name]}" for name in here]
    return " and ".join(text for name, text in zip(here, wrong, strict=True) if here[name] != there[name])


@asynccontextmanager
async def _started(cluster: Any, name: str) -> AsyncIterator[tuple[Any, str]]:
    """A cluster that Dask starts for this stage, with its client."""
    from distributed import Status

    try:
        try:
            await cluster
            for worker in cluster.workers.values():
                await worker  # one that could not be started tries again, and says why not
        except Exception as error:  # of asyncssh, of sbatch, ...
            for worker in cluster.workers.values():
                if worker.status == Status.created:
                    worker.status = Status.failed  # or the cluster could not be closed
            raise ClusterError(f"No workers can be started on {name}: {_words(error)}. See docs/cluster.md.") from error
        async with _client(cluster, name) as client:
            yield client, name
    finally:
        with suppress(Exception):  # of Dask's own check, the last step, where a job has ended by itself
            await asyncio.wait_for(cluster.close(), CLOSE_SECONDS)
        cluster.status = Status.closed


def _ssh(hosts: Sequence[str]) -> Any:
    """A worker on each host, and the scheduler on the first of them."""
    from distributed import SSHCluster

    return SSHCluster(
        [hosts[0], *hosts],
        scheduler_options={"port": 0, "dashboard": False, "idle_timeout": IDLE},
        worker_options={"death_timeout": 60},
        asynchronous=True,
    )


def _slurm(slurm: Slurm) -> Any:
    """Jobs with a worker each; the scheduler is in this process."""
    from dask_jobqueue import SLURMCluster
    from dask_jobqueue.core import Job, JobQueueCluster
    from dask_jobqueue.slurm import SLURMJob
    from distributed import Status

    known = {name for made in (JobQueueCluster, Job, SLURMJob) for name in signature(made).parameters}
    if unknown := slurm.options.keys() - known:
        name = min(unknown)
        near = did_you_mean(name, known)
        raise ClusterError(f"cluster.slurm.{name} in params.yaml is no option of SLURMCluster. {near}")
    Path(LOGS).mkdir(parents=True, exist_ok=True)
    options = {"processes": 1, "log_directory": str(Path(LOGS).absolute()), **slurm.options}
    options["scheduler_options"] = {"dashboard": False, **options.get("scheduler_options", {})}
    cluster = SLURMCluster.__new__(SLURMCluster)
    try:
        SLURMCluster.__init__(cluster, **options, n_workers=slurm.workers, asynchronous=True)
        return cluster
    except Exception as error:  # of Dask, for options that do not fit together
        cluster.status = Status.closed  # half made as it is: Dask would warn that nobody closed it
        raise ClusterError(f"cluster.slurm in params.yaml cannot be used: {_words(error)}.") from error


def _words(error: BaseException) -> str:
    """An error of a library in one line."""
    return printable(" ".join(f"{error}".split()) or type(error).__name__).rstrip(".")
