"""A command's output goes to a file, its end is told, and an interruption ends all of it."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from formwork.errors import FormworkError
from formwork.processes import SHOWN_LINES, last_lines, run_logged
from tests.processes import left, wait_for

# A process that starts another, says so, and waits.
PARENT = """
import signal, subprocess, sys
if {deaf}:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("child", child.pid, flush=True)
child.wait()
"""


def run(tmp_path: Path, script: str, meanwhile: Callable[[], None] | None = None) -> str:
    with (tmp_path / "lock").open("w") as lock:
        command = [sys.executable, "-c", script]
        return run_logged(command, tmp_path, os.environ, tmp_path / "log", lock.fileno(), meanwhile)


def test_what_a_command_prints_is_kept_and_returned(tmp_path):
    script = "import os, sys; print(os.getcwd()); sys.stdout.flush(); print('warning', file=sys.stderr)"
    assert run(tmp_path, script) == f"{tmp_path}\nwarning\n"
    assert (tmp_path / "log").read_text() == f"{tmp_path}\nwarning\n"


def test_a_command_that_fails_shows_its_last_lines_and_where_all_are(tmp_path):
    script = "import sys; [print('line', n, flush=True) for n in range(100)]; sys.exit('ERROR: what is wrong')"
    with pytest.raises(FormworkError) as caught:
        run(tmp_path, script)
    message = str(caught.value)
    assert "\n  line 99\n  ERROR: what is wrong\n" in message
    assert f"`less -R {tmp_path / 'log'}`" in message
    assert f"line {100 - SHOWN_LINES}\n" not in message
    assert "line 0\n" in (tmp_path / "log").read_text()


def test_last_lines_are_those_that_a_terminal_shows():
    output = "Epoch 1\rEpoch 2\n\n\x1b[31mERROR\x1b[0m: wrong\n   \n"
    assert last_lines(output, 5) == ["Epoch 2", "ERROR: wrong"]
    assert last_lines(output, 1) == ["ERROR: wrong"]
    assert last_lines("Epoch 1:  50%\r", 1) == ["Epoch 1:  50%"]
    assert last_lines("", 1) == []


@pytest.mark.parametrize("deaf", [False, True], ids=["listening", "deaf"])
def test_an_interruption_ends_the_command_and_what_it_started(tmp_path, monkeypatch, deaf):
    monkeypatch.setattr("formwork.processes.CLEAN_UP_SECONDS", 0.5)
    log = tmp_path / "log"

    def interrupt() -> None:
        # The whole line: Python writes it word by word where PYTHONUNBUFFERED is set.
        wait_for(lambda: log.exists() and log.read_bytes().endswith(b"\n"))
        os.kill(os.getpid(), signal.SIGINT)  # as a terminal does it: to the process, not to this thread

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, PARENT.format(deaf=deaf))
    thread.join()
    (child,) = (int(word) for word in log.read_text().split() if word.isdigit())
    assert left([child]) == []


def test_what_is_looked_at_meanwhile_can_end_a_command_that_never_stops_printing(tmp_path, monkeypatch):
    monkeypatch.setattr("formwork.processes.LOOK_SECONDS", 0.05)
    looks = []

    def look() -> None:
        looks.append(len((tmp_path / "log").read_bytes()))
        if len(looks) == 3:
            raise StopIteration

    with pytest.raises(StopIteration):
        run(tmp_path, "while True: print('on and on', flush=True)", look)
    assert looks == sorted(looks)
    assert looks[0] < looks[2]
    assert run(tmp_path, "print('done')", looks.clear) == "done\n"
