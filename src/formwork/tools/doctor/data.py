"""Checks of params.yaml, the raw images, the manifests and the betons."""

import os
from pathlib import Path

from formwork.errors import DatasetError, FormworkError
from formwork.escapes import printable
from formwork.images.containers import image_source
from formwork.system import cores
from formwork.text import count
from formwork.tools.doctor.project import SPLITS, Project
from formwork.tools.doctor.verdict import NotChecked, Result, note, ok, problem

SAMPLES, SAMPLE_BYTES = 256, 64 << 20  # of a beton, and files of a dataset, that are looked at without --full
NAMED = 3  # files in a message
WALK_SECONDS = 5  # for the names of all files in a folder, without --full


def params(project: Project) -> Result:
    from formwork.params import load_params

    try:
        data = load_params().data
    except FormworkError as error:
        return problem(error)
    return ok(f"params.yaml is valid; the dataset is {data.name}")


def raw(project: Project) -> Result:
    """Whether the raw images are there, are laid out as link wants them, and are known to DVC."""
    from formwork.datasets.candidates import find_candidates

    folder, data = project.raw, project.params.data
    pointer = folder.with_name(f"{folder.name}.dvc")
    if folder.is_symlink() and not folder.exists():
        return problem(f"{folder} is a link to {os.readlink(folder)}, which is not there. Is it mounted?")
    manifests = [path for path in map(project.folders.manifest, SPLITS) if path.exists()]
    if not folder.is_dir() and len(manifests) == len(SPLITS) and all(map(Path.exists, _betons(project))):
        finding = (
            f"{folder} is not there, and manifests and betons are: enough to train with --allow-missing "
            "(docs/betons.md has the other commands)"
        )
        whole = f"dvc pull {pointer}" if pointer.exists() else f"dvc repro fetch@{data.name}"
        return note(
            finding, "dvc exp run --allow-missing", *([whole] if pointer.exists() or data.name in data.fetch else [])
        )
    if not folder.is_dir() and data.name in data.fetch:
        return note(f"{folder} is not there yet: fetch makes or downloads it", "dvc repro")
    if not folder.is_dir() and pointer.exists():
        return note(f"{folder} is not there yet; {pointer} says what DVC has", f"dvc pull {pointer}")
    try:
        # What has manifests was looked through by link: whether it has changed since is for DVC to say.
        layout = project.params.dataset.layout
        found = find_candidates(folder, layout, data.ignore) if not (manifests and folder.is_dir()) else None
    except DatasetError as error:
        return problem(error)
    about = f"{folder} is there" if found is None else f"{count(len(found), 'file')} in {folder}"
    if folder.is_symlink():
        return ok(f"{about}, a link: DVC sees changes, and keeps no older version")
    if data.name not in data.fetch and not pointer.exists():
        return note(
            f"{about}, and DVC does not know it: nobody else can get these images, and no older version is kept",
            f"dvc add {folder}",
            f"git add {pointer}",
        )
    return ok(about)


def _betons(project: Project) -> list[Path]:
    return [project.folders.beton(split) for split in SPLITS]


def raw_files(project: Project) -> Result:
    """Whether DVC can hash all that is in data/raw, also what is not added yet."""
    from formwork.obstacles import find_obstacles

    folders = sorted(path for path in project.raw.parent.glob("*") if path.is_dir())
    for folder in folders:
        found = list(find_obstacles(folder, float("inf") if project.full else WALK_SECONDS))
        if found:
            named = ", ".join(f"{printable(o.path)} ({o.reason})" for o in found[:NAMED])
            return problem(
                f"DVC stops at {count(len(found), 'file')} in {folder}: {named}{', ...' if len(found) > NAMED else ''}",
                *(o.command for o in found[:NAMED]),
            )
    return ok(f"DVC can hash all that is in {project.raw.parent}")


def manifest(project: Project, split: str) -> Result:
    path = project.folders.manifest(split)
    if not path.exists():
        return note(f"{path} is not there yet", "dvc repro link")
    try:
        manifest = project.read_manifest(split)
    except DatasetError as error:
        return problem(error)
    if not len(manifest):
        return problem(f"{path} lists no images", "dvc repro -f link")
    of = f" of {len(set(manifest.labels.tolist()))} classes" if manifest.task == "classes" else ""
    return ok(f"{count(len(manifest), 'image')}{of}")


def originals(project: Project) -> Result:
    """Whether the files that the manifests list are there, with the sizes that they give."""
    manifests = [project.manifest(split) for split in SPLITS]
    if not project.raw.is_dir():
        raise NotChecked(f"{project.raw} is not there")
    total = sum(map(len, manifests))
    step = 1 if project.full else max(total // SAMPLES, 1)
    looked_at = [
        (manifest.paths[sample], int(manifest.numbers("bytes")[sample]), manifest.span(sample))
        for manifest in manifests
        for sample in range(0, len(manifest), step)
    ]
    wrong = [path for path, size, span in looked_at if _bytes(project.raw, path, span) != size]
    if wrong:
        named = ", ".join(map(printable, wrong[:NAMED])) + (", ..." if len(wrong) > NAMED else "")
        return note(
            f"{len(wrong)} of {count(len(looked_at), 'file')} looked at are missing in {project.raw}, or not of "
            f"the size in the manifest: {named}",
            "dvc repro",
            f"dvc checkout {project.raw}",
        )
    return ok(f"{len(looked_at)} of {count(total, 'file')} looked at: there, with the sizes in the manifest")


def _bytes(raw: Path, path: str, span: tuple[int, int] | None) -> int | None:
    try:
        source = image_source(raw, path, span)
        return len(source) if isinstance(source, bytes) else source.stat().st_size
    except OSError:
        return None


def beton(project: Project, split: str) -> Result:
    """Whether a beton can be opened, its image data has the checksums that it was written with, and it holds the images
    of the manifest, as ffcv.beton in params.yaml says."""
    from formwork.beton.faults import commands_to_mend
    from formwork.beton.read import open_beton
    from formwork.tools.inspect.verify import find_damage, open_samples

    path = project.folders.beton(split)
    if not os.path.lexists(path):
        return note(f"{path} is not there yet", "dvc repro convert")
    try:
        opened = open_beton(path)
        if project.full:
            looked_at, damage = len(opened), find_damage(opened, cores())
        else:
            chosen = _sample(opened.storage_order.tolist(), opened.sizes.tolist())
            with open_samples(opened) as samples:
                faults = {sample: samples.fault(samples.read(sample), sample) for sample in chosen}
            looked_at, damage = len(chosen), {sample: fault for sample, fault in faults.items() if fault}
    except FormworkError as error:
        return problem(error)
    if damage:
        first = next(iter(damage))
        return problem(
            f"{len(damage)} of {count(looked_at, 'sample')} looked at in {path} are damaged; sample {first}: "
            f"{damage[first]}",
            *commands_to_mend(*dict.fromkeys(map(opened.path_of, damage))),
        )
    sound = f"{looked_at} of {count(len(opened), 'sample')} looked at are sound"
    try:
        return outdated(project, split) or ok(f"{sound}; made from this manifest and params")
    except NotChecked as error:
        return ok(f"{sound}; {error}")


def _sample(order: list[int], sizes: list[int]) -> list[int]:
    """Some sample ids from all over the file, and no more bytes than SAMPLE_BYTES, but one at least."""
    chosen: list[int] = []
    total = 0
    for sample in order[:: max(len(order) // SAMPLES, 1)]:
        total += sizes[sample]
        if chosen and total > SAMPLE_BYTES:
            break
        chosen.append(sample)
    return chosen


def outdated(project: Project, split: str) -> Result | None:
    """What a beton was made from, where that is not what there is now."""
    opened = project.beton(split)
    try:
        opened.of_manifest(project.manifest(split))
    except FormworkError as error:
        return note(error)
    if opened.provenance is None:
        return note(
            f"{opened.path} has the labels of its manifest, and no checksums: FFCV's own writer made it",
            "dvc repro -f convert",
        )
    different = _changed_params(project, split)
    if different:
        return note(f"{opened.path} was made with other params: {', '.join(different)}", "dvc repro convert")
    return None


def _changed_params(project: Project, split: str) -> list[str]:
    """Keys of ffcv.beton that a beton was made with other values of, with both values."""
    from formwork.beton.provenance import describe_part

    known = project.beton(split).provenance
    made_with = known.facts["params"] if known else {}
    now = describe_part(project.params.ffcv.beton)["params"]
    return [
        f"ffcv.beton.{key} was {made_with.get(key)!r} and is {value!r}"
        for key, value in sorted(now.items())  # what has no meaning now is not said
        if made_with.get(key) != value
    ]
