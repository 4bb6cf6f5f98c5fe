"""Commands on a terminal of their own: a real pseudo-terminal, and what stands on its screen in the end."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path


def on_terminal(
    command: Sequence[str | Path], columns: int = 80, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run a command to its end on a terminal of so many columns; gives its exit status and all that it wrote."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with subprocess.Popen(
        command, cwd=cwd, env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        output = b""
        with suppress(OSError):  # what Linux says when the last process has closed its side
            while part := os.read(ours, 65536):
                output += part
        os.close(ours)
        status = process.wait()
    return status, output.decode()


def screen(output: str) -> list[str]:
    """The lines that stand on an endless screen after this output."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|.", output, re.DOTALL):
        if part == "\r":
            column = 0
        elif part == "\n":
            row += 1
        elif part == "\x1b[A":
            row -= 1
        elif part == "\x1b[K":
            lines[row] = lines[row][:column]
        elif len(part) == 1:
            lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + 1 :]
            column += 1
        lines += [""] * (row + 1 - len(lines))
    return [line.rstrip() for line in lines]
