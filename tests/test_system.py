"""Cores and memory are those that this process may use; the peak of memory is that of all its processes."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from formwork import system
from formwork.system import PeakMemory
from tests.workspace import ROOT

linux = pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="only Linux says so")

MB = 1_000_000
CHILD = """
import sys
for line in sys.stdin:
    data = bytearray(b"x" * int(line))
    print("ready", flush=True)
"""
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"


@pytest.fixture
def process() -> Iterator[subprocess.Popen]:
    """A process that uses little. Its child allocates as much as is written to it, and says so."""
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.stdin.close()


def allocate(process: subprocess.Popen, size: int) -> None:
    print(size, file=process.stdin, flush=True)
    assert process.stdout.readline() == "ready\n"


def test_memory_of_a_child_counts_and_stays_the_peak_when_it_is_freed(process: subprocess.Popen):
    with PeakMemory(process.pid, every=3600) as memory:
        little = memory.peak
        allocate(process, 100 * MB)
        much = memory.look()
        allocate(process, MB)
        memory.look()
    assert little + 90 * MB < much < 400 * MB
    assert memory.peak == much


def test_it_looks_by_itself(process: subprocess.Popen):
    with PeakMemory(process.pid, every=0.01) as memory:
        allocate(process, 100 * MB)
        while memory.peak < 100 * MB:  # the thread looks, or this test does not end
            pass
    assert memory.peak < 400 * MB


def test_a_process_that_ended_uses_nothing():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    with PeakMemory(process.pid, every=3600) as memory:
        assert memory.look() == 0


def test_a_thread_that_ends_while_it_is_looked_at_hides_no_child_of_others(
    process: subprocess.Popen, monkeypatch: pytest.MonkeyPatch
):
    entries = system._entries

    def with_one_that_ended(folder: Path) -> list[Path]:
        return [folder / "0", *entries(folder)]  # no thread has this number

    monkeypatch.setattr(system, "_entries", with_one_that_ended)
    with PeakMemory(process.pid, every=3600) as memory:
        allocate(process, 100 * MB)
        assert memory.look() > 90 * MB


# --- What there is ------------------------------------------------------------------------------


@linux
@pytest.mark.parametrize("version", [1, 2])
def test_memory_and_cores_are_those_of_the_control_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    total, available = system.memory()
    cores = system.cores()
    assert 0 < available <= total
    assert 0 < cores <= os.cpu_count()

    lines = {1: "4:cpuset,memory:/jobs/mine\n1:cpu:/\n", 2: "0::/jobs/mine\n"}[version]
    (tmp_path / "cgroup").write_text(lines)
    monkeypatch.setattr(system, "CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(system, "CGROUPS", tmp_path)
    names = {1: ("memory/jobs/mine", "memory.limit_in_bytes"), 2: ("jobs/mine", "memory.max")}
    folder, name = names[version]
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / name).write_text("max\n" if version == 2 else f"{2**63 - 4096}\n")
    assert system.memory()[0] == total

    (tmp_path / folder).parent.joinpath(name).write_text("1000000\n")  # of the group around it
    assert system.memory() == (1_000_000, 1_000_000)
    (tmp_path / "jobs").mkdir(exist_ok=True)
    (tmp_path / "jobs/cpu.max").write_text("100000 100000\n")
    assert system.cores() == (1 if version == 2 else cores)


def drop(path: Path) -> None:
    """Take a file out of the page cache."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if system.cached_bytes(path):
        pytest.skip("this file system keeps its files in memory")


@linux
def test_what_is_in_the_page_cache_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(5_000_001))
    assert system.cached_bytes(path) == 5_000_001
    drop(path)
    with path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)  # no reading ahead
        file.seek(1_000_000)
        file.read(10)
    assert 0 < system.cached_bytes(path) < 2_000_000
    path.write_bytes(b"")
    assert system.cached_bytes(path) == 0


def test_the_id_of_a_machine_stays_and_tells_nothing_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    found = system.machine_id()
    assert re.fullmatch("[0-9a-f]{8}", found)
    command = [sys.executable, "-c", "from formwork.system import machine_id; print(machine_id())"]
    source = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    assert subprocess.run(command, env=source, capture_output=True, text=True, check=True).stdout == f"{found}\n"
    assert (tmp_path / "formwork/machine").read_bytes() not in (b"", found.encode())


@pytest.mark.parametrize("other", ["machine-id", "host name", "user's secret", "boot of a container"])
def test_whatever_tells_machines_apart_changes_the_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    """Nodes with one image differ in their names, copies of a virtual machine in the secret, and containers of one
    image on two hosts in the boot of the host."""
    files = {name: tmp_path / name for name in ("machine-id", "boot", "container")}
    for file in files.values():
        file.write_text("one")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(system, "MACHINE_IDS", (files["machine-id"], tmp_path / "missing"))
    monkeypatch.setattr(system, "BOOT_ID", files["boot"])
    monkeypatch.setattr(system, "IN_CONTAINER", (files["container"],))
    one = system.machine_id()
    assert system.machine_id() == one
    if other == "machine-id":
        files["machine-id"].write_text("two")
    elif other == "host name":
        monkeypatch.setattr(system.platform, "node", lambda: "two")
    elif other == "user's secret":
        (tmp_path / "state/formwork/machine").unlink()
        monkeypatch.setattr(system, "_OF_PROCESS", b"two")
    else:
        files["boot"].write_text("two")
        assert system.machine_id() != one
        files["container"].unlink()  # outside, a machine stays the same when it is started again
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        two = system.machine_id()
        files["boot"].write_text("three")
        assert system.machine_id() == two
    assert system.machine_id() != one


def test_where_nothing_can_be_kept_the_id_is_that_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert system.machine_id() == system.machine_id()
    command = [sys.executable, "-c", "from formwork.system import machine_id; print(machine_id())"]
    source = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    assert subprocess.run(command, env=source, capture_output=True, text=True, check=True).stdout != system.machine_id()
