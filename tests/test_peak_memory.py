"""Memory is that of all processes, and the peak of it is kept."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from formwork import peak_memory
from formwork.peak_memory import PeakMemory

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
    entries = peak_memory._entries

    def with_one_that_ended(folder: Path) -> list[Path]:
        return [folder / "0", *entries(folder)]  # no thread has this number

    monkeypatch.setattr(peak_memory, "_entries", with_one_that_ended)
    with PeakMemory(process.pid, every=3600) as memory:
        allocate(process, 100 * MB)
        assert memory.look() > 90 * MB
