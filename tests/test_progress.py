"""Bars fit the terminal and are gone when something else is written; without a terminal there are none."""

import subprocess
import sys
from pathlib import Path

import pytest

import formwork
from tests.processes import TIMEOUT
from tests.terminal import on_terminal, screen

COMMAND = f"""
import sys, time
sys.path.insert(0, {str(Path(formwork.__file__).parents[1])!r})
from formwork.errors import FormworkError, run
from formwork.progress import progress

def work():
    print("starts", flush=True)
    for number in progress(range(6), name="a name of some length", unit="images"):
        time.sleep(0.3)
        if number == 3 and sys.argv[1] == "fails":
            raise FormworkError("what is wrong")
        if number == 3 and sys.argv[1] == "stopped":
            import os, signal
            os.kill(os.getpid(), signal.SIGTERM)
    print("done", flush=True)

run(work)
"""
ENDS = {"works": (0, "done"), "fails": (1, "ERROR: what is wrong"), "stopped": (143, "Received SIGTERM: stopped.")}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("columns", [30, 80, 200])
def test_a_bar_fits_the_terminal_and_leaves_a_clean_line(end, columns):
    status, output = on_terminal([sys.executable, "-c", COMMAND, end], columns)
    assert "a name of" in output
    assert max(len(part) for part in output.replace("\n", "\r").split("\r")) <= columns
    assert screen(output) == ["starts", ENDS[end][1], ""]
    assert status == ENDS[end][0]


@pytest.mark.parametrize("end", ENDS)
def test_there_is_no_bar_without_a_terminal(end):
    command = [sys.executable, "-c", COMMAND, end]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.stdout == f"starts\n{ENDS[end][1]}\n"
    assert done.returncode == ENDS[end][0]


FORKED = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(formwork.__file__).parents[1])!r})
from formwork.progress import progress

list(progress(range(2), name="before", unit="images"))
child = os.fork()
if child == 0:
    progress(total=2, name="a child", unit="images").get_lock().acquire()
    os.kill(os.getpid(), signal.SIGKILL)  # in the middle of drawing
os.waitpid(child, 0)
print(len(list(progress(range(2), name="after", unit="images"))))
"""


def test_a_process_that_is_killed_while_it_draws_stops_no_other():
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert (done.stdout, done.stderr) == ("2\n", "")
