"""Checks of how images would be loaded, and of results that were not made as params.yaml asks."""

import os
from pathlib import Path

from formwork.errors import BetonError, FormworkError
from formwork.text import count, format_bytes
from formwork.tools.doctor.project import SPLITS, Project, read_json
from formwork.tools.doctor.verdict import NotChecked, Result, note, ok, problem

MANY = 1 / 3  # of the training images, left out of each epoch because they do not fill a batch
METRICS = (Path("results/train/metrics.json"), Path("results/evaluate/metrics.json"))


def batches(project: Project) -> Result:
    """Whether the images can be shared out in batches: augmentation lists, batch size, devices."""
    devices = project.devices
    try:
        data = project.data
        images = {split: len(data.splits[split].manifest) for split in SPLITS}
        samplers = {split: data.sampler(split, 0, devices) for split in SPLITS}
    except FormworkError as error:
        return problem(error)
    used = len(samplers["train"]) * project.params.data.batch_size
    finding = (
        f"{len(samplers['train'])} batches of {project.params.data.batch_size} an epoch, {len(samplers['val'])} in "
        f"validation; {images['train'] - used:,} of {images['train']:,} training images, others each time, are left out"
    )
    if images["train"] - used > MANY * images["train"]:
        return note(f"{finding}: a smaller data.batch_size would use more of them")
    return ok(finding)


def loader(project: Project) -> Result:
    """Which loader a training would get: FFCVDataLoader is made, as make_loader makes it."""
    for split in SPLITS:
        project.manifest(split)
    if not project.params.data.use_ffcv:
        if not project.raw.is_dir():
            return problem(f"data.use_ffcv is false, and the original images {project.raw} are missing", "dvc pull")
        return ok("PyTorchDataLoader, as data.use_ffcv: false asks")
    from formwork.loading.factory import make_loader

    devices = project.devices
    try:
        data = project.data
    except FormworkError as error:
        raise NotChecked("a training could not start") from error
    for split in SPLITS:
        try:
            make_loader(data.splits[split], data.config(split, 0, devices), use_ffcv=True, fallback="error")
        except FormworkError as error:
            reason = error.__cause__
            if isinstance(reason, BetonError) and not project.folders.beton(split).exists():
                return note(reason)
            return _falls_back(project, reason) if reason else problem(error)
    return ok("FFCVDataLoader, for both splits")


def _falls_back(project: Project, reason: object) -> Result:
    if project.params.ffcv.fallback == "error":
        return problem(f"FFCV loading would fail, and ffcv.fallback is error: {reason}")
    if not project.raw.is_dir():
        return problem(f"a training would fall back to PyTorch, and {project.raw} is missing: {reason}")
    return note(f"a training would fall back to the PyTorch DataLoader: {reason}")


def kernels(project: Project) -> Result:
    """Whether what FFCVDataLoader runs is compiled already."""
    project.need_libraries()
    from formwork.kernels.compile import SWITCH, is_plain

    if is_plain():
        command = [f"unset {SWITCH}"] if SWITCH in os.environ else []
        return note("kernels are not compiled: plain code takes their place, at a fraction of the speed", *command)
    from formwork.kernels.cache import cache_folder, source_digest, why_not_kept

    folder = cache_folder(source_digest())
    if reason := why_not_kept(folder):
        return note(
            f"kernels cannot be kept in a cache: each process compiles them anew. {folder}: {reason}",
            'export NUMBA_CACHE_DIR="/a/folder/that/can/be/written"',
        )
    if next(folder.glob("*-formwork.loading.*.nbi"), None):
        return ok(f"compiled, in {folder}")
    return ok("not compiled yet: plain code makes the first batches meanwhile, at a fraction of the speed, once")


def results(project: Project) -> Result:
    """Whether the results in the workspace were made with the loader that params.yaml asks for."""
    wanted = "ffcv" if project.params.data.use_ffcv else "pytorch"
    used = {path: read_json(path).get("loader") for path in METRICS}
    others = {path: name for path, name in used.items() if name not in (None, wanted)}
    if others:
        listed = ", ".join(f"{path} (loader: {name})" for path, name in others.items())
        why = "FFCV could not load then, or data.use_ffcv was false" if wanted == "ffcv" else "data.use_ffcv was true"
        stages = " ".join(path.parent.name for path in others)
        return note(
            f"not made with the {wanted} loader, which params.yaml asks for: {listed}. {why}",
            f"dvc repro --force --single-item {stages}",
        )
    if not any(used.values()):
        return ok("none yet")
    return ok(f"made with the {wanted} loader")


def interrupted(project: Project) -> Result:
    """Checkpoints of trainings that did not end; see formwork.training.resume."""
    found = sorted(Path("models/.resume").glob("*.ckpt"))
    if not found:
        return ok("no training was interrupted")
    size = format_bytes(sum(path.stat().st_size for path in found))
    return note(
        f"{count(len(found), 'interrupted training')}, {size} in models/.resume: each goes on from there when the same "
        "params, data and code are run again",
        *(f"rm {path}" for path in found),
    )
