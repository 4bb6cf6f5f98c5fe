"""What a worker and the process that gives it work must have in common, so that results are the same bytes."""

import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from formwork.code import PACKAGE, STAGES, code_digest
from formwork.escapes import printable

CODECS = ("libjpeg_turbo", "webp", "jpg_2000", "avif", "libtiff")  # of Pillow: pixels may differ with their versions


def agreement(stage: str) -> dict[str, Any]:
    """Of this process; plain values, which code of any version reads.

    Args:
        stage: whose row of STAGES the tasks are of.
    """
    return {"stage": stage, "code": _digest(stage, PACKAGE), "versions": _versions()}


def disagreements(expected: dict[str, Any]) -> list[str]:
    """What sets this process apart from the one that has made `expected`: ends of sentences that begin with a name."""
    found = []
    if _digest(expected["stage"], PACKAGE) != expected["code"]:
        found.append(
            f"has another version of the code in {printable(PACKAGE)}: the folder is not shared, or its files reach "
            "that machine late"
        )
    other = _other_code(sys.path)
    if other and _digest(expected["stage"], other) != expected["code"]:
        found.append(f"was started with another version of the code, {printable(other)}: start it without PYTHONPATH")
    for name, version in _versions().items():
        if version != (wanted := expected["versions"].get(name)):
            found.append(f"has {name} {version or 'missing'}, where this machine has {wanted or 'none'}")
    return found


def _digest(stage: str, package: Path) -> str:
    return code_digest((*STAGES[stage], "cluster"), package=package)


def _other_code(path: Sequence[str]) -> Path | None:
    """The package that a plain `import formwork` would find in this environment, if that is not the one in use."""
    spec = PathFinder.find_spec("formwork", [entry for entry in path if Path(entry).resolve() != PACKAGE.parent])
    return Path(spec.origin).parent if spec and spec.origin else None


def _versions() -> dict[str, str | None]:
    """Of what the pixels and the bytes of images depend on."""
    import numpy
    from PIL import Image, features

    python = ".".join(map(str, sys.version_info[:2]))
    codecs = {name: features.version(name) for name in CODECS}
    return {"Python": python, "numpy": numpy.__version__, "pillow": Image.__version__, **codecs}
