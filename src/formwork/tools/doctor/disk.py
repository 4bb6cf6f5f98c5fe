"""Checks of what can be written, and how much."""

import os
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from formwork.errors import FormworkError
from formwork.tools.doctor import machine
from formwork.tools.doctor.children import Failed
from formwork.tools.doctor.data import changed_params
from formwork.tools.doctor.project import SPLITS, Project
from formwork.tools.doctor.verdict import NotChecked, Result, note, ok, problem, size

if TYPE_CHECKING:
    from formwork.images.manifest import Row

ENCODED, ENCODED_SECONDS = 32, 1.5  # images of a split that are encoded to estimate the size of its beton, at most
DVC_SECONDS = 10  # for DVC to open its repository
RESERVE = 1.1  # free space over the estimate, below which it is close
SAME_FILE = {"hardlink", "symlink"}  # DVC's ways to have a file in its cache and in the workspace without a second copy


def folders(project: Project) -> Result:
    """Whether this user can write where the stages write, by writing."""
    wanted = [project.interim, project.processed, Path("models"), Path("results")]
    wanted += sorted(path for path in Path("results").glob("*") if path.is_dir())
    if Path(".dvc").is_dir():
        wanted += [Path(".dvc/tmp"), _cache(project)[0]]
    faults: dict[Path, OSError] = {}
    for folder in dict.fromkeys(map(machine.nearest, wanted)):
        try:
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            faults[folder] = error
    if not faults:
        return ok("this user can write to data, models, results and DVC's cache")
    listed = ", ".join(f"{folder} ({error.strerror})" for folder, error in faults.items())
    return problem(f"this user cannot write to {listed}", *filter(None, map(_permit, faults, faults.values())))


def _permit(folder: Path, error: OSError) -> str | None:
    if not isinstance(error, PermissionError):
        return None
    return f"chmod -R u+rwX {folder}" if folder.stat().st_uid == os.geteuid() else f'sudo chown -R "$USER" {folder}'


def space(project: Project) -> Result:
    """Whether the betons that are to be written have room, in data/processed and in DVC's cache."""
    cache, ways = _cache(project)
    places = [machine.nearest(project.processed)]
    if Path(".dvc").is_dir() and not SAME_FILE & set(ways[:1]):
        places.append(machine.nearest(cache))
    finding = ", ".join(f"{size(shutil.disk_usage(place).free)} free in {place}" for place in places)
    outdated = [split for split in SPLITS if not _in_step(project, split)]
    if not outdated:
        return ok(f"the betons are there; {finding}")
    need = sum(estimate(project, split) for split in outdated)
    copies = Counter(place.stat().st_dev for place in places)  # by disk
    lowest = min(shutil.disk_usage(place).free / copies[place.stat().st_dev] for place in places)
    twice = ", in the workspace and in DVC's cache" if len(places) > 1 else ""
    finding = f"about {size(need)} of betons are to be written{twice}; {finding}"
    if lowest > need * RESERVE:
        return ok(finding)
    commands = (f"df -h {' '.join(map(str, places))}", "dvc gc --workspace --all-commits --all-experiments --dry")
    return note(f"{finding}: close", *commands) if lowest > need else problem(f"{finding}: too little", *commands)


def _in_step(project: Project, split: str) -> bool:
    from formwork.beton.read import check_beton

    try:
        beton = project.beton(split)
        check_beton(beton, project.manifest(split))
    except (NotChecked, FormworkError):
        return False
    return beton.provenance is not None and not changed_params(project, split)


def estimate(project: Project, split: str) -> int:
    """Bytes of the beton of a split: some of its images are encoded as convert would, and stand for all.

    Raises:
        NotChecked: there is no manifest, or its images cannot be read.
    """
    from formwork.conversion.encode import encode

    manifest, params = project.manifest(split), project.params.ffcv.beton
    stored = pixels = 0
    stop = time.monotonic() + ENCODED_SECONDS
    # In storage order, which is a shuffle: the first are a fair sample.
    for sample in manifest.storage_order[:ENCODED].tolist():
        row = manifest.rows[sample]
        try:
            stored += len(encode(row, project.raw, params).data)
        except FormworkError as error:
            raise NotChecked(f"{project.raw / row.path} cannot be converted") from error
        pixels += _stored_pixels(row, params.max_resolution)
        if time.monotonic() > stop:
            break
    return round(stored / pixels * sum(_stored_pixels(row, params.max_resolution) for row in manifest.rows))


def _stored_pixels(row: "Row", max_resolution: int | None) -> float:
    scale = min((max_resolution or max(row.width, row.height)) / max(row.width, row.height), 1)
    return row.width * row.height * scale**2


def _cache(project: Project) -> tuple[Path, list[str]]:
    """DVC's cache, and its ways of linking files from it, the first that works first."""
    try:
        found = project.dvc.get("repository", DVC_SECONDS)
        return Path(os.path.relpath(found["cache"])), found["cache_types"]
    except (Failed, TimeoutError):
        return Path(".dvc/cache"), []
