"""Checks of memory: the page cache, how the order of the images suits it, and what a conversion needs."""

import heapq

from formwork.tools.doctor import machine
from formwork.tools.doctor.project import SPLITS, Project
from formwork.tools.doctor.verdict import Result, note, ok, size

SLOW_BYTES = 256 << 20  # of a beton to be read from disk, from where on it is felt


def page_cache(project: Project) -> Result:
    """How much of the betons need not be read from disk."""
    files = project.beton_files()
    total = sum(path.stat().st_size for path in files)
    cached = sum(map(machine.cached_bytes, files))
    _, available = machine.memory()
    if cached == total:
        return ok(f"all {size(total)} of the betons are in memory")
    finding = f"{size(cached)} of {size(total)} of the betons are in memory: the first epoch reads the rest from disk"
    if total - cached < SLOW_BYTES:
        return ok(finding)
    if total > available:
        return note(finding)  # what to do is said by `caching`
    return note(finding, *(f"cat {path} > /dev/null" for path in files))


def caching(project: Project) -> Result:
    """Whether ffcv.os_cache and ffcv.order suit the size of the betons."""
    ffcv, data = project.params.ffcv, project.params.data
    total = sum(path.stat().st_size for path in project.beton_files())
    _, available = machine.memory()
    sizes = f"betons of {size(total)}, {size(available)} of memory available"
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
    from formwork.conversion.write import MEMORY, memory_needed

    workers = max(project.params.data.num_workers, 1)
    rows = [row for split in SPLITS for row in project.manifest(split).rows]
    needs = [memory_needed(row) for row in rows]
    need = min(sum(needs), max(MEMORY, sum(heapq.nlargest(workers, needs))))
    _, available = machine.memory()
    finding = f"convert needs up to {size(need)} with data.num_workers {workers}, and {size(available)} are available"
    if need <= available:
        return ok(finding)
    return note(
        f"{finding}; the largest image is {project.raw / rows[needs.index(max(needs))].path}",
        "dvc exp run -S data.num_workers=1 convert",
    )
