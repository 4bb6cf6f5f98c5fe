"""Checks of what the machine gives: folders that can be written, disk space, memory, page cache and CPU cores."""

import os
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from formwork import system
from formwork.earlier_parts import kept_folder
from formwork.errors import FormworkError
from formwork.escapes import printable
from formwork.text import format_bytes
from formwork.tools.doctor.children import Failed
from formwork.tools.doctor.data import outdated
from formwork.tools.doctor.project import SPLITS, Project, read_json
from formwork.tools.doctor.verdict import NotChecked, Result, note, ok, problem

if TYPE_CHECKING:
    import numpy as np

    from formwork.images.manifest import Manifest

SLOW_BYTES = 256 << 20  # of a beton to be read from disk, from where on it is felt
WAITING = 0.1  # share of an epoch spent waiting for data, from where on more workers are worth it
ENCODED, ENCODED_SECONDS = 32, 1.5  # images of a split that are encoded to estimate the size of its beton, at most
DVC_SECONDS = 10  # for DVC to open its repository
RESERVE = 1.1  # free space over the estimate, below which it is close
SAME_FILE = {"hardlink", "symlink"}  # DVC's ways to have a file in its cache and in the workspace without a second copy


# --- Disk ---------------------------------------------------------------------------------------


def folders(project: Project) -> Result:
    """Whether this user can write where the stages write, by writing."""
    wanted = [project.folders.interim, project.folders.processed, Path("models"), Path("results")]
    wanted += sorted(path for path in Path("results").glob("*") if path.is_dir())
    if Path(".dvc").is_dir():
        wanted += [Path(".dvc/tmp"), _cache(project)[0]]
    faults: dict[Path, OSError] = {}
    for folder in dict.fromkeys(map(nearest, wanted)):
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
    places = [nearest(project.folders.processed)]
    if Path(".dvc").is_dir() and not SAME_FILE & set(ways[:1]):
        places.append(nearest(cache))
    finding = ", ".join(f"{format_bytes(shutil.disk_usage(place).free)} free in {place}" for place in places)
    missing = [split for split in SPLITS if not _in_step(project, split)]
    left = [kept for path in map(project.folders.beton, SPLITS) if (kept := kept_folder(path)).is_dir()]
    if not missing and left:
        size = format_bytes(sum(path.stat().st_size for kept in left for path in kept.iterdir()))
        listed = " ".join(map(str, left))
        return note(f"{size} of parts were kept for a conversion that was not needed: {listed}", f"rm -r {listed}")
    if not missing:
        return ok(f"the betons are there; {finding}")
    need = sum(estimate(project, split) for split in missing)
    copies = Counter(place.stat().st_dev for place in places)  # by disk
    lowest = min(shutil.disk_usage(place).free / copies[place.stat().st_dev] for place in places)
    twice = ", in the workspace and in DVC's cache" if len(places) > 1 else ""
    finding = f"about {format_bytes(need)} of betons are to be written{twice}; {finding}"
    if lowest > need * RESERVE:
        return ok(finding)
    commands = (f"df -h {' '.join(map(str, places))}", "dvc gc --workspace --all-commits --all-experiments --dry")
    return note(f"{finding}: close", *commands) if lowest > need else problem(f"{finding}: too little", *commands)


def _in_step(project: Project, split: str) -> bool:
    try:
        return outdated(project, split) is None
    except NotChecked:
        return False


def estimate(project: Project, split: str) -> int:
    """Bytes of the beton of a split: some of its images are encoded as convert would, and stand for all.

    Raises:
        NotChecked: there is no manifest, or its images cannot be read.
    """
    from formwork.conversion.encode import encode

    manifest, params = project.manifest(split), project.params.ffcv.beton
    stored, pixels, of_all = 0, 0.0, _stored_pixels(manifest, params.max_resolution)
    stop = time.monotonic() + ENCODED_SECONDS
    # In storage order, which is a shuffle: the first are a fair sample.
    for sample in manifest.storage_order[:ENCODED].tolist():
        row = manifest.rows[sample]
        try:
            stored += len(encode(row, project.raw, params).data)
        except FormworkError as error:
            raise NotChecked(f"{printable(project.raw / row.path)} cannot be converted") from error
        pixels += of_all[sample]
        if time.monotonic() > stop:
            break
    return round(stored / pixels * of_all.sum())


def _stored_pixels(manifest: "Manifest", max_resolution: int | None) -> "np.ndarray":
    """(N,) float64."""
    import numpy as np

    longer = np.maximum(manifest.numbers("width"), manifest.numbers("height"))
    scale = np.minimum((max_resolution or longer) / longer, 1)
    return manifest.pixels * scale**2


def nearest(path: Path) -> Path:
    """The folder itself, or the one above it that exists."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def _cache(project: Project) -> tuple[Path, list[str]]:
    """DVC's cache, and its ways of linking files from it, the first that works first."""
    try:
        found = project.dvc.get("repository", DVC_SECONDS)
        return Path(os.path.relpath(found["cache"])), found["cache_types"]
    except (Failed, TimeoutError):
        return Path(".dvc/cache"), []


# --- Memory and CPU cores ------------------------------------------------------------------------


def page_cache(project: Project) -> Result:
    """How much of the betons need not be read from disk."""
    files = project.beton_files()
    total = sum(path.stat().st_size for path in files)
    cached = 0
    for path in files:
        found = system.cached_bytes(path)
        if found is None:
            raise NotChecked(f"the system does not tell this user how much of {path} is in memory")
        cached += found
    _, available = system.memory()
    if cached == total:
        return ok(f"all {format_bytes(total)} of the betons are in memory")
    finding = (
        f"{format_bytes(cached)} of {format_bytes(total)} of the betons are in memory: the first epoch reads the rest "
        "from disk"
    )
    if total - cached < SLOW_BYTES:
        return ok(finding)
    if total > available:
        return note(finding)  # what to do is said by `caching`
    from formwork.beton.faults import is_part

    folders = dict.fromkeys(path.parent / "*" if is_part(path) else path for path in files)
    return note(finding, *(f"cat {path} > /dev/null" for path in folders))


def caching(project: Project) -> Result:
    """Whether ffcv.os_cache and ffcv.order suit the size of the betons."""
    ffcv, data = project.params.ffcv, project.params.data
    total = sum(path.stat().st_size for path in project.beton_files())
    _, available = system.memory()
    sizes = f"betons of {format_bytes(total)}, {format_bytes(available)} of memory available"
    if not data.use_ffcv:
        return ok(f"data.use_ffcv is false: ffcv.order {ffcv.order} is kept to, ffcv.os_cache means nothing")
    if total <= available and ffcv.os_cache:
        return ok(f"{sizes}: ffcv.os_cache true keeps them there")
    if total <= available:
        return note(
            f"{sizes}: they would fit, and with ffcv.os_cache false every epoch reads them from disk again",
            "dvc exp run -S ffcv.os_cache=true",
        )
    if ffcv.order == "random":
        return note(
            f"{sizes}: they do not fit, and ffcv.order random reads single images from all over the file; quasi_random "
            "reads it in large pieces, once an epoch",
            f"dvc exp run -S ffcv.order=quasi_random -S ffcv.os_cache={'true' if ffcv.os_cache else 'false'}",
        )
    if ffcv.os_cache:
        return note(
            f"{sizes}: they do not fit; with ffcv.os_cache true each epoch reads them from disk, and pushes what "
            "else is there out of memory",
            "dvc exp run -S ffcv.os_cache=false",
        )
    return ok(f"{sizes}: they do not fit, and are read in large pieces (ffcv.order {ffcv.order}, ffcv.os_cache false)")


def conversion(project: Project) -> Result:
    """What `convert` needs at most, beside the program itself, against what is available."""
    import numpy as np

    from formwork.conversion.part import MEMORY, memory_needed

    workers = max(project.params.data.num_workers, 1)
    manifests = [project.manifest(split) for split in SPLITS]
    needs = np.concatenate([memory_needed(manifest) for manifest in manifests])
    need = min(int(needs.sum()), max(MEMORY, int(np.sort(needs)[-workers:].sum())))
    _, available = system.memory()
    finding = (
        f"convert needs up to {format_bytes(need)} with data.num_workers {workers}, and {format_bytes(available)} are "
        "available"
    )
    if need <= available:
        return ok(finding)
    largest = max((manifest for manifest in manifests if len(manifest)), key=lambda m: memory_needed(m).max())
    path = largest.paths[int(memory_needed(largest).argmax())]
    return note(
        f"{finding}; the largest image is {printable(project.raw / path)}",
        "dvc exp run -S data.num_workers=1 convert",
    )


def workers(project: Project) -> Result:
    """data.num_workers against the cores, and against what the last training waited for."""
    data, cores = project.params.data, system.cores()
    devices, nodes = project.params.trainer.devices, project.params.trainer.num_nodes
    processes = devices if isinstance(devices, int) else project.devices // nodes
    wanted = data.num_workers * processes
    finding = f"data.num_workers {data.num_workers}{f' x {processes} devices' if processes > 1 else ''}, {cores} cores"
    better = max(cores // processes, 1)
    command = f"dvc exp run -S data.num_workers={better}"
    if wanted > cores and data.num_workers > better:
        return note(f"{finding}: more than can work at once", command)
    last = read_json(Path("results/speed/metrics.json"))
    waited = last.get("waiting_share", 0) if last.get("machine_id") == system.machine_id() else 0
    if waited > WAITING and data.num_workers < better:
        return note(f"{finding}: the last training waited for data for {waited:.0%} of its time", command)
    return ok(finding)
