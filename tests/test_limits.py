"""What the system refuses a command is one line, with what to do; and so is an output that nobody takes."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import formwork
from formwork.limits import ADVICE, DATABASES, explain
from tests.processes import TIMEOUT

START = f"""
import os, resource, sys
sys.path.insert(0, {str(Path(formwork.__file__).parents[1])!r})
from formwork.errors import run

def command():
"""


def result(body: str, redirect: str = "", env: dict[str, str] | None = None) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a command with this body."""
    script = START + "\n".join(f"    {line}" for line in body.splitlines()) + "\nrun(command)\n"
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" {redirect}', sys.executable, script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env=os.environ | (env or {}),
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


REFUSED = {
    "a file that is not there": ("open('gone/file')", "gone/file: No such file or directory."),
    "open files": (
        "resource.setrlimit(resource.RLIMIT_NOFILE, (10, 10))\nfiles = [open(os.devnull) for _ in range(10)]",
        f"Too many open files. {ADVICE[errno.EMFILE]}",
    ),
    "the size of a file": (
        "import tempfile\nresource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "with tempfile.TemporaryFile(buffering=0) as file:\n    while True:\n        file.write(bytes(11))",
        f"File too large. {ADVICE[errno.EFBIG]}",
    ),
    "memory": (
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\nbytes(1 << 30)",
        f"Not enough memory. {ADVICE[errno.ENOMEM]}",
    ),
    "memory of NumPy": (
        "import numpy\nresource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\nnumpy.empty(1 << 30)",
        "Not enough memory: Unable to allocate 8.00 GiB for an array with shape (1073741824,) and data type float64. "
        + ADVICE[errno.ENOMEM],
    ),
    "threads": (
        'raise RuntimeError("can\'t start new thread")',
        f"The system starts no more threads. {ADVICE[errno.EAGAIN]}",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_the_system_refuses_is_one_line(kind):
    body, message = REFUSED[kind]
    assert result(body) == (1, "", f"ERROR: {message}\n")


@pytest.mark.parametrize("error", ["KeyError('x')", "RuntimeError('x')", "OSError('x')"])
def test_an_error_of_the_program_keeps_its_traceback(error):
    status, _, said = result(f"raise {error}")
    assert status == 1
    assert said.startswith("Traceback")


def test_a_full_disk_is_found_where_the_error_does_not_name_it(monkeypatch):
    full = Path(__file__).parent
    monkeypatch.setattr("formwork.limits.FULL", 1 << 60)
    monkeypatch.chdir(full)
    message = explain(OSError(errno.ENOSPC, "No space left on device"))
    assert message is not None
    assert message.startswith("No space left on device in ")
    assert str(full) in message
    assert message.endswith(ADVICE[errno.ENOSPC])


def test_torch_says_what_the_system_said(tmp_path):
    import torch

    with pytest.raises((RuntimeError, OSError)) as caught, open("/dev/full", "wb") as file:
        torch.save({"weights": torch.zeros(100_000)}, file)
    assert "No space left on device" in (explain(caught.value) or "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
class TestOutput:
    """An output that is closed, full, or left by its reader."""

    def test_closed(self, unbuffered):
        body = f"print('lost')\nsys.stderr.write('told')\nprint(open({os.devnull!r}).fileno(), file=sys.stderr)"
        status, out, said = result(body, ">&-", {"PYTHONUNBUFFERED": unbuffered})
        assert (status, out) == (0, "")
        assert said.startswith("told")
        assert int(said.removeprefix("told")) > 2  # a file does not take the place of the output

    def test_all_closed(self, unbuffered):
        body = "print('lost')\nprint('lost', file=sys.stderr)\nsys.exit(3)"
        assert result(body, "<&- >&- 2>&-", {"PYTHONUNBUFFERED": unbuffered}) == (3, "", "")

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
    def test_full(self, unbuffered):
        status, _, said = result("print('lost')", "> /dev/full", {"PYTHONUNBUFFERED": unbuffered})
        assert status == 1
        assert said.startswith("ERROR: ")
        assert said.count("\n") == 1
        assert "No space left on device" in said


@pytest.mark.parametrize("lines", [1, 100_000])
def test_a_reader_that_has_gone_gives_the_status_of_sigpipe(lines):
    script = START + f"    for line in range({lines}): print(line)\nrun(command)\n"
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, timeout=TIMEOUT, check=False)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


def test_what_was_printed_stands_before_the_error():
    assert result("print('before')\nopen('gone')", "2>&1")[1] == "before\nERROR: gone: No such file or directory.\n"


def test_the_end_of_the_cpu_time_is_a_signal_as_others():
    status, _, said = result("resource.setrlimit(resource.RLIMIT_CPU, (1, 60))\nwhile True: pass")
    assert (status, said) == (128 + signal.SIGXCPU, "Received SIGXCPU: stopped.\n")


def test_a_library_without_memory_is_named():
    error = ImportError("a page of advice on libx.so: failed to map segment from shared object")
    error.__cause__ = ImportError("libx.so: failed to map segment from shared object")
    assert explain(error) == (f"Not enough memory to load a library: {error.__cause__}. {ADVICE[errno.ENOMEM]}")


def test_a_database_without_room_is_one_line():
    status, _, said = result("import sqlite3\nraise sqlite3.OperationalError('database or disk is full')")
    assert status == 1
    assert said == f"ERROR: A database of DVC cannot be used: database or disk is full. {DATABASES}\n"
