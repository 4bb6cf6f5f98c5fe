"""The process that compiles for another one: what it does, and when it ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from formwork.kernels import cache
from formwork.loading.compiler_process import CompilerProcess
from formwork.loading.random_numbers import words
from tests.kernels.test_cache import SMALL, run, start
from tests.processes import TIMEOUT

pytestmark = pytest.mark.slow

COMPILE = """
from formwork.kernels.cache import cache_folder, source_digest
from formwork.loading.compiler_process import CompilerProcess
from formwork.loading.random_numbers import words
CompilerProcess(words, 0, 0, [1, 2, 3], "test").wait()
print(0, 0, cache_folder(source_digest()))
"""
SLEEP = """
import time
from formwork.loading.compiler_process import CompilerProcess
process = CompilerProcess(time.sleep, 600)
print(process._process.pid, flush=True)
time.sleep(600)
"""


def test_what_it_compiles_is_compiled_for_all(tmp_path: Path) -> None:
    _, _, folder = run(COMPILE, tmp_path)
    assert list(folder.glob("*.nbc"))
    assert run(SMALL, tmp_path) == (3, 0, folder)


def gone(process: int) -> bool:
    """Whether a process ends soon; one that nobody has waited for yet has ended, too."""
    for _ in range(100):
        try:
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_it_ends_with_its_parent(tmp_path: Path, number: signal.Signals) -> None:
    parent = start(SLEEP, tmp_path, start_new_session=True)
    assert parent.stdout is not None
    compiler = int(parent.stdout.readline())
    os.kill(parent.pid, number)
    parent.communicate(timeout=TIMEOUT)
    assert gone(compiler)


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_it_ends_when_nobody_needs_it_and_not_when_a_fork_of_its_parent_ends() -> None:
    process = CompilerProcess(time.sleep, 600)
    compiler = process._process.pid
    fork = os.fork()
    if not fork:
        process._end()
        os._exit(0)
    os.waitpid(fork, 0)
    assert process.running
    del process
    assert gone(compiler)


def test_it_reads_no_terminal_and_says_nothing(capfd: pytest.CaptureFixture) -> None:
    process = CompilerProcess(subprocess.check_call, [sys.executable, "-c", "import sys; assert not sys.stdin.read()"])
    process.wait()
    assert process._process.returncode == 0
    failed = CompilerProcess(words, "no number")
    failed.wait()
    assert failed._process.returncode == 1
    assert capfd.readouterr() == ("", "")


def test_nobody_waits_for_ever_for_another_to_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "TURN_SECONDS", 0.3)
    with cache.one_at_a_time(), cache.one_at_a_time():
        pass
