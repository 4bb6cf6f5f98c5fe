"""A signal ends a command with one line and 128 + n, and a block that holds signals back ends first."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import formwork
from formwork.signals import ENDING, Interrupted, held, received
from tests.processes import TIMEOUT, left

# Whoever runs the tests in the background lets them ignore Ctrl-C.
DEFAULT = f"import signal; [signal.signal(number, signal.SIG_DFL) for number in {tuple(map(int, ENDING))}]\n"

# Runs a command that says when it waits, and waits: in a block that puts things away, or in one that holds signals.
COMMAND = f"""
import sys, time
sys.path.insert(0, {str(Path(formwork.__file__).parents[1])!r})
from formwork.errors import run
from formwork.signals import held, received

def clean():
    try:
        print("waits", flush=True)
        time.sleep(60)
    finally:
        print("cleaned", flush=True)

def hold():
    with held():
        print("waits", flush=True)
        while not received():
            time.sleep(0.01)
        time.sleep(float(sys.argv[2]))
        print("held", received().name, flush=True)

run(clean if sys.argv[1] == "clean" else hold)
"""

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "command.py", "clean"], stdout=open(sys.argv[1], "w"))
print(child.pid, flush=True)
child.wait()
"""


def start(*arguments: str, before: str = "", **options) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", DEFAULT + before + COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waits\n"
    return process


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_is_told_and_ends_what_was_going_on(number):
    process = start("clean")
    process.send_signal(number)
    assert process.communicate(timeout=TIMEOUT) == ("cleaned\n", f"Received {number.name}: stopped.\n")
    assert process.returncode == 128 + number


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_is_held_back(number):
    process = start("hold", "0.1")
    process.send_signal(number)
    assert process.communicate(timeout=TIMEOUT) == (f"held {number.name}\n", f"Received {number.name}: stopped.\n")
    assert process.returncode == 128 + number


def test_two_signals_at_once_are_one_request():
    process = start("hold", "0.1")
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGHUP)
    output, error = process.communicate(timeout=TIMEOUT)
    assert output.startswith("held ")
    assert error.count("Received") == 1
    assert process.returncode in (128 + signal.SIGTERM, 128 + signal.SIGHUP)


def test_a_second_signal_ends_at_once():
    process = start("hold", "60")
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.6)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=TIMEOUT) == ("", "Received SIGINT, too: ended at once.\n")
    assert process.returncode == 128 + signal.SIGINT


@pytest.mark.parametrize("number", ENDING)
def test_what_is_ignored_from_the_start_stays_ignored(number):
    process = start("hold", "0", before=f"import signal; signal.signal({int(number)}, signal.SIG_IGN)\n")
    process.send_signal(number)
    process.send_signal(signal.SIGUSR2 if number != signal.SIGUSR2 else signal.SIGUSR1)
    assert number.name not in process.communicate(timeout=TIMEOUT)[1]


def test_a_closed_terminal_does_not_change_the_status():
    process = start("clean")
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    process.send_signal(signal.SIGHUP)
    assert process.communicate(timeout=TIMEOUT)[1] == "Received SIGHUP: stopped.\n"
    assert process.returncode == 128 + signal.SIGHUP


@pytest.mark.skipif(sys.platform != "linux", reason="the system tells of a parent's end on Linux alone")
def test_a_stage_ends_with_dvc(tmp_path: Path):
    """Its parent here, which is killed; without DVC a command outlives who started it."""
    pids = []
    for name, environment in (("stage", {"DVC_STAGE": "train"}), ("command", {})):
        (tmp_path / "command.py").write_text(COMMAND)
        parent = subprocess.Popen(
            [sys.executable, "-c", PARENT, name],
            cwd=tmp_path,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert parent.stdout is not None
        pids.append(int(parent.stdout.readline()))
        while "waits" not in ((tmp_path / name).read_text() if (tmp_path / name).exists() else ""):
            assert parent.poll() is None
        parent.kill()
        parent.communicate(timeout=TIMEOUT)
    assert left(pids[:1]) == []
    assert (tmp_path / "stage").read_text() == "waits\ncleaned\n"
    assert [process.pid for process in left(pids[1:], timeout=0)] == pids[1:]
    os.kill(pids[1], signal.SIGKILL)


def test_a_block_in_a_process_of_somebody_else():
    handlers = [signal.getsignal(number) for number in ENDING]

    def block() -> None:
        with held():
            assert received() is None
            os.kill(os.getpid(), signal.SIGUSR1)
            assert received() == signal.SIGUSR1

    with pytest.raises(Interrupted) as interrupted:
        block()
    assert interrupted.value.number == signal.SIGUSR1
    assert [signal.getsignal(number) for number in ENDING] == handlers
    with held():
        assert received() is None
