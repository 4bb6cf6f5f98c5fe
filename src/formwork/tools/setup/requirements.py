"""The pins of requirements.txt: lines such as `numpy==2.2.6 ; python_full_version < '3.11'  # via scipy`."""

import re
from pathlib import Path

from formwork.errors import FormworkError

FOR_CUDA = re.compile(r"cuda-|nvidia-(?!ml-py)|triton")
"""Matches the names of packages that torch for the CPU does not need."""


def pins(requirements: Path) -> list[str]:
    """The lines without their comments."""
    lines = (line.partition("#")[0].strip() for line in requirements.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def name_of(pin: str) -> str:
    return pin.partition("==")[0].strip()


def version_of(package: str, requirements: Path) -> str:
    """Raises FormworkError: requirements.txt pins no version of it."""
    for pin in pins(requirements):
        if name_of(pin) == package:
            return re.split(r"[\s;]", pin.partition("==")[2])[0]
    raise FormworkError(f"{requirements} pins no version of {package}. `git checkout requirements.txt` brings it back.")
