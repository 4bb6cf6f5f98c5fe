"""Tars of images, as people make them."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path


def write_tar(
    path: Path, files: Mapping[str, bytes], tar_format: int = tarfile.DEFAULT_FORMAT, mode: str = "w"
) -> Path:
    """Write members in this order. mode: of tarfile.open; "a" appends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode, format=tar_format) as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            tar.addfile(member(name, size=len(content)), io.BytesIO(content))
    return path


def member(name: str, **fields: object) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    for field, value in {"mtime": 1_600_000_000, **fields}.items():
        setattr(found, field, value)
    return found


def tar_bytes(files: Mapping[str, bytes]) -> bytes:
    """A tar, to be put into another."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in files.items():
            tar.addfile(member(name, size=len(content)), io.BytesIO(content))
    return file.getvalue()
