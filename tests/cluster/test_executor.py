"""Tasks on real workers: their results, and what becomes of them when workers, processes or the scheduler end.

Tasks are functions of the standard library: workers have no tests.
"""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from formwork.cluster import connect, dispatch
from formwork.cluster.executor import ClusterExecutor, cluster_executor
from formwork.code import PACKAGE
from formwork.errors import ClusterError
from formwork.parallel import TaskKilled, in_order
from tests.dask_processes import DaskProcesses, dask_processes, end
from tests.processes import TIMEOUT, left, wait_for

pytestmark = pytest.mark.slow


@contextmanager
def executor(address: str, folder: Path = Path("out"), files: tuple[Path, ...] = ()) -> Iterator[ClusterExecutor]:
    with cluster_executor(address, "link", folder, files) as found:
        assert found is not None
        yield found


def test_no_cluster_is_no_executor() -> None:
    with cluster_executor(None, "link", Path("out")) as found:
        assert found is None


def test_tasks_run_in_the_workspace_with_its_code_and_results_come_in_order(dask: DaskProcesses, shared: Path) -> None:
    (shared / "images").mkdir()
    (shared / "images/1.png").write_text("content")
    with executor(dask.address, files=(Path("images/1.png"),)) as pool:
        results = list(in_order(pool, hex, range(20), ahead=7))
        assert pool.submit(os.getcwd).result() == str(shared)
        origin = pool.submit(eval, "__import__('formwork').__file__").result()
        parents = {pool.submit(os.getppid).result() for _ in range(10)}
        (mark,) = Path("out").iterdir()
    assert results == [(number, hex(number)) for number in range(20)]
    assert Path(origin).parent == PACKAGE
    assert parents <= dask.pids
    assert not mark.exists()


def test_an_exception_is_that_of_the_task(dask: DaskProcesses, shared: Path) -> None:
    with executor(dask.address) as pool:
        failing = pool.submit(os.stat, "there is none")
        with pytest.raises(FileNotFoundError, match="there is none") as raised:
            failing.result()
        assert "child.py" in str(raised.value.__cause__)  # where it happened
        assert pool.submit(len, "four").result() == 4


def test_a_task_that_ends_its_process_is_tried_elsewhere_and_given_up_in_the_end(
    dask: DaskProcesses, shared: Path
) -> None:
    """A process that is killed for lack of memory takes neither the worker nor other tasks with it."""
    once = "[ -e killed ] || { touch killed; kill -9 $PPID; sleep 9; }; echo done"
    with executor(dask.address) as pool:
        results = [pool.submit(subprocess.getoutput, once), *(pool.submit(abs, -number) for number in range(9))]
        assert [future.result() for future in results] == ["done", *range(9)]
        deadly = pool.submit(os.abort)
        with pytest.raises(TaskKilled, match=r"^3 processes ended in turn \(tcp://127\.0\.0\.1:\d+: signal 6, tcp:"):
            deadly.result()
        assert pool.submit(abs, -1).result() == 1


def test_a_killed_worker_costs_its_task_alone(dask: DaskProcesses, shared: Path) -> None:
    worker = dask.start_worker()
    with executor(dask.address) as pool:
        assert wait_for(lambda: worker.pid in {pool.submit(os.getppid).result() for _ in range(9)})
        line = f"echo $$ >> ran; [ $(ps -o ppid= $PPID) != {worker.pid} ] || echo $$ >> with_it; sleep 0.2"
        running = [pool.submit(subprocess.getoutput, line) for _ in range(15)]
        assert wait_for((shared / "with_it").exists)
        children = psutil.Process(worker.pid).children()
        end(worker)
        assert [future.result() for future in running] == [""] * 15
    assert len(Path("ran").read_text().split()) <= 15 + len(Path("with_it").read_text().split())
    assert not left([child.pid for child in children])


def test_a_lost_scheduler_ends_the_work_at_once(tmp_path: Path, shared: Path) -> None:
    with dask_processes(tmp_path, workers=1) as own, executor(own.address) as pool:
        waiting = [pool.submit(time.sleep, 60) for _ in range(3)]
        end(own.scheduler)
        start = time.monotonic()
        for future in waiting:
            with pytest.raises(ClusterError, match=rf"The connection to the scheduler {own.address} was lost"):
                future.result(TIMEOUT)
        with pytest.raises(ClusterError, match="was lost"):
            pool.submit(abs, -1).result(TIMEOUT)
        assert time.monotonic() - start < 25
    assert not list(Path("out").glob("*"))


def test_leaving_the_block_ends_what_is_in_work(dask: DaskProcesses, shared: Path) -> None:
    with executor(dask.address) as pool:
        running = [pool.submit(time.sleep, 600) for _ in range(9)]
        assert wait_for(lambda: sum(future.running() for future in running) == 4)  # one of two waits there
        children = [child.pid for pid in dask.pids for child in psutil.Process(pid).children()]
        assert len(children) == 2
    assert not left(children)
    assert all(future.cancelled() or future.exception() for future in running)


def test_workers_that_would_make_other_bytes_are_refused_by_name(
    tmp_path: Path, shared: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    shutil.copytree(PACKAGE, other / "formwork", ignore=shutil.ignore_patterns("__pycache__"))
    with (other / "formwork/datasets/verify_file.py").open("a") as file:
        file.write("# edited\n")
    older = tmp_path / "older"
    older.mkdir()
    (older / "sitecustomize.py").write_text("import numpy\nnumpy.__version__ = '1.0'\n")
    with dask_processes(tmp_path, workers=0) as own:
        own.start_worker(env={"PYTHONPATH": str(other)})
        own.start_worker(env={"PYTHONPATH": str(older)})
        with pytest.raises(ClusterError) as raised, executor(own.address) as pool:
            pool.submit(abs, -1).result()
        message = str(raised.value)
        assert message.startswith(f"No worker of the scheduler {own.address} can be used:\n")
        assert f"it was started with another version of the code, {other}/formwork" in message
        assert "it has numpy 1.0, where this machine has " in message
        assert message.count("The worker tcp://127.0.0.1:") == 2
        good = own.start_worker()
        with executor(own.address) as pool:
            assert {pool.submit(os.getppid).result() for _ in range(9)} == {good.pid}
        assert capfd.readouterr().out.count("WARNING: The worker tcp://") >= 2


def test_a_worker_that_does_not_see_the_folder_or_a_file_is_refused(tmp_path: Path, shared: Path) -> None:
    alone = next((command for command in (["unshare", "-m"], ["unshare", "-rm"]) if _works(command)), None)
    if alone is None:
        pytest.skip("a mount namespace of its own is needed, and cannot be had (unshare)")
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    out.mkdir()
    (images / "1.png").write_text("content")

    def without(folder: Path) -> list[str]:
        return [*alone, "sh", "-c", f"mount -t tmpfs none '{folder}' && exec \"$@\"", "sh"]

    with dask_processes(tmp_path, workers=0) as own:
        own.start_worker(within=without(out))
        own.start_worker(within=without(images))
        with pytest.raises(ClusterError) as raised, executor(own.address, files=(images / "1.png",)) as pool:
            pool.submit(abs, -1)
    message = str(raised.value)
    assert re.search(
        rf"it does not see out/\.cluster-\w+ in {shared} as it is here: the folder must be shared", message
    )
    assert f"it does not see {images}/1.png " in message


def _works(command: list[str]) -> bool:
    mounts = [*command, "mount", "-t", "tmpfs", "none", "/mnt"]
    return (
        shutil.which(command[0]) is not None and not subprocess.run(mounts, capture_output=True, check=False).returncode
    )


def test_without_a_worker_it_says_so_and_gives_up_in_time(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(connect, "WAIT_SECONDS", 2.0)
    monkeypatch.setattr(dispatch, "SILENT_SECONDS", 0.5)
    with dask_processes(tmp_path, workers=0) as own:
        refused(own.address, rf"^No worker of the scheduler {own.address} came within 2 s\. `dask worker ")
        said = (
            f"Waiting for a worker of the scheduler {own.address}, 2 s at most. `dask worker {own.address}` starts one"
        )
        assert capfd.readouterr().out == f"{said}.\n"
        monkeypatch.setattr(connect, "WAIT_SECONDS", 60.0)
        first = own.start_worker()
        with executor(own.address) as pool:  # the only worker is replaced in the middle of the work
            results = [pool.submit(time.sleep, 0.5) for _ in range(4)]
            assert results[0].result() is None
            end(first)
            own.start_worker()
            assert [future.result(TIMEOUT) for future in results] == [None] * 4


def test_what_is_no_scheduler_is_refused_with_its_address(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "CONNECT_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        refused(address, rf"^What listens at {address} does not answer as a Dask scheduler")
    refused(address, rf"^No Dask scheduler can be reached at {address}: Connection refused\.")
    refused("tls://no.such.host.invalid:1", r"^No Dask scheduler can be reached at tls://no\.such\.host\.invalid:1: ")


def test_without_dask_it_says_what_to_install(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "find_spec", lambda name: None)
    refused("tcp://127.0.0.1:1", r"needs distributed, which this Python .* lacks\. Run `.*formwork\[cluster\]'` or ")


def refused(address: str, message: str) -> None:
    """The first task is refused with this message, and nothing is left."""
    with executor(address) as pool, pytest.raises(ClusterError, match=message):
        pool.submit(abs, -1)
    assert not list(Path("out").glob("*"))
