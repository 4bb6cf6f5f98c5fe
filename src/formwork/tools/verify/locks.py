"""dvc.lock as it was committed and as it is made anew, and the contents that both name."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from formwork.errors import FormworkError
from formwork.git import read_files
from formwork.yaml import YamlError, parse_yaml

if TYPE_CHECKING:
    from dvc.repo import Repo

LOCKS = ("dvc.lock", "data/dvc.lock")
Stages = Mapping[str, Mapping[str, Any]]
"""Entries of dvc.lock by the name of the stage."""


def stages_at(root: Path, commit: str) -> dict[str, Any]:
    """All stages that the lock files of a commit name.

    Raises:
        FormworkError: a lock file cannot be read.
    """
    return _stages(dict(zip(LOCKS, read_files(root, [f"{commit}:{name}" for name in LOCKS]), strict=True)))


def stages_in(folder: Path) -> dict[str, Any]:
    """All stages that the lock files of a workspace name."""
    return _stages({name: (folder / name).read_bytes() for name in LOCKS if (folder / name).exists()})


def _stages(contents: Mapping[str, bytes | None]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, content in contents.items():
        try:
            found |= parse_yaml(content or b"{}", name).get("stages") or {}
        except (YamlError, AttributeError, TypeError) as error:
            raise FormworkError(f"{name} cannot be read ({error}). Restore it: `git checkout {name}`.") from error
    return found


def outs_of(stages: Stages) -> Iterator[tuple[str, str, str | None]]:
    """(stage, path, MD5) of each output."""
    for stage, entry in stages.items():
        for out in entry.get("outs", ()):
            yield stage, out["path"], out.get("md5")


def size_of(stages: Stages) -> int:
    """Bytes of all outputs."""
    return sum(out.get("size") or 0 for entry in stages.values() for out in entry.get("outs", ()))


def other_inputs(before: Stages, after: Stages) -> Iterator[str]:
    """In what the committed stages are of other inputs than those of the commit: code, params, data or command; what
    stages make for each other left out."""
    made = {path for _, path, _ in outs_of(after)}
    for stage, entry in after.items():
        if (old := before.get(stage)) is None:
            yield f"it has no stage {stage}"
            continue
        if old.get("cmd") != entry.get("cmd"):
            yield f"the command of {stage}"
        sides = [{dep["path"]: dep.get("md5") for dep in side.get("deps", ())} for side in (old, entry)]
        for path in {**sides[0], **sides[1]}:
            if path not in made and sides[0].get(path) != sides[1].get(path):
                yield f"{path} of {stage}"
        params = [side.get("params", {}).get("params.yaml", {}) for side in (old, entry)]
        for key in {**params[0], **params[1]}:
            if params[0].get(key) != params[1].get(key):
                yield f"{key} of {stage}"


@dataclass
class Contents:
    """Contents of files by their MD5, from DVC's cache, and of small ones from git."""

    root: Path
    commit: str
    repo: "Repo"

    def read(self, path: str, md5: str) -> bytes | None:
        """As dvc.lock has it; None where it is not here."""
        cached = Path(self.repo.cache.local.oid_to_path(md5))
        if cached.is_file():
            return cached.read_bytes()
        content = read_files(self.root, [f"{self.commit}:{path}"])[0]
        return content if content is not None and hashlib.md5(content).hexdigest() == md5 else None

    def files(self, path: str, md5: str) -> dict[str, str] | None:
        """MD5 by path of the files of an output, one that is a folder or a single file; None where its listing is not
        here."""
        if not md5.endswith(".dir"):
            return {path: md5}
        listing = self.read(path, md5)
        return None if listing is None else {f"{path}/{one['relpath']}": one["md5"] for one in json.loads(listing)}
