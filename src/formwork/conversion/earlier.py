"""The parts of earlier versions of a beton, which a new version can share."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from formwork.beton import provenance
from formwork.beton.beton import Beton, join
from formwork.beton.read import PARTS, open_beton
from formwork.earlier_parts import Version, earlier_versions
from formwork.errors import BetonError
from formwork.images.manifest import Manifest
from formwork.params import BetonParams

MADE_BY = "made_by.json"  # in a folder of parts


@dataclass(frozen=True)
class Earlier:
    """What earlier versions have that is what would be written now.

    Attributes:
        samples: of all parts that were found; None where there are none.
        newest: how many of its files, the first, are of the newest version.
        part_mb: of the newest version.
    """

    samples: Beton | None = None
    newest: int = 0
    part_mb: float | None = None
    _versions: Mapping[str, Version] = field(default_factory=dict)

    def place(self, name: str, target: Path) -> None:
        """Put a part into a new folder.

        Raises:
            FormworkError: the system refuses it.
        """
        self._versions[name].place(name, target)


def find_earlier(path: Path, manifest: Manifest, params: BetonParams, code: str) -> Earlier:
    """What there is of earlier versions of the folder of parts `path`: the newest one, and others before it, as long as
    images of the manifest are found nowhere.

    Args:
        code: digest of the code that writes betons: another may have stored another form of an image.
    """
    facts = json.loads(provenance.encode_json(provenance.describe_part(params)))
    found: list[Beton] = []
    versions: dict[str, Version] = {}
    newest, part_mb, samples = 0, None, None
    for version in earlier_versions(path):
        made_by = _made_by(version)
        if made_by.get("code") != code:
            continue
        before = len(found)
        for name in sorted(version.files.keys() - versions.keys()):
            if fnmatch(name, PARTS) and (part := _open(version.files[name], name, facts)):
                found.append(part)
                versions[name] = version
        if not newest and found:
            newest, part_mb = len(found), made_by.get("part_mb")
        if len(found) > before:
            samples = join(path, found)
            if (samples.samples_of(manifest.sha256) >= 0).all():
                break
    return Earlier(samples, newest, part_mb, versions)


def part_name(digest: bytes) -> str:
    """digest: see formwork.beton.provenance.digest_of."""
    return f"part-{digest.hex()[:16]}.beton"


def _open(path: Path, name: str, facts: dict[str, Any]) -> Beton | None:
    """A part; None where it is damaged, or holds images in another form: they are encoded again."""
    try:
        part = open_beton(path)
    except BetonError:
        return None
    known = part.provenance
    suits = part.in_parts and known is not None and known.facts == facts and part_name(known.digest) == name
    return part if suits else None


def _made_by(version: Version) -> dict[str, Any]:
    """What MADE_BY says; {} where nobody knows."""
    try:
        made_by = json.loads(version.files[MADE_BY].read_bytes())
    except (KeyError, OSError, ValueError):
        return {}
    return made_by if isinstance(made_by, dict) else {}


def remove_parts(path: Path) -> None:
    """Remove a folder of parts, so that a file can be written in its place; leave any other folder."""
    if path.is_dir() and not path.is_symlink() and (path / MADE_BY).is_file():
        for file in (*path.glob(PARTS), path / MADE_BY):
            file.unlink()
        with suppress(OSError):  # something of the user's is in it
            path.rmdir()
