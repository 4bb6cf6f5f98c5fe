"""The tool tune: ways of storing a dataset and of loading it, tried on a sample of its images."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from formwork.errors import DatasetError, FormworkError
from formwork.escapes import printable
from formwork.files import check_writable, try_lock, writing
from formwork.folders import Folders
from formwork.images.containers import is_there
from formwork.images.manifest import write_manifest
from formwork.images.row import Row
from formwork.interim.settings import read_settings
from formwork.loading.project import ProjectData
from formwork.params import Params
from formwork.text import format_bytes
from formwork.tools.tune.grid import FREE_SHARE, Request, combine, usual_resolutions
from formwork.tools.tune.page import Page
from formwork.tools.tune.pick import pick
from formwork.tools.tune.sample import choose, usual_number
from formwork.tools.tune.trial import Trial


def tune(params: Params, folders: Folders, results: Path, request: Request) -> None:
    """Measure; write tune.md, tune.json and tune.png into `results`; print the line that takes the pick over.

    Raises:
        FormworkError: manifests or originals are missing, the disk is full, FFCVDataLoader cannot be had; or, after the
            results are written, no setting is within the budget and as true to the originals as asked for.
    """
    check_writable(results / "tune.md")
    data = ProjectData(params, folders, read_settings(folders.settings).splits)
    rows = [row for split in data.splits.values() for row in split.manifest.rows]
    sampled = choose(rows, request.images or usual_number(rows), params.seed)
    _check_originals(sampled, folders.raw)
    grid = request.grid
    if not grid.resolutions:
        grid = replace(grid, resolutions=usual_resolutions(data.settings.resolution))
    with _workplace(folders.processed.parent / ".tune") as folder:
        free = shutil.disk_usage(folder).free
        trial = Trial(data, write_manifest(folder / "sample.csv", sampled), rows, request.rounds)
        page = Page(
            params=params,
            settings=data.settings,
            config=trial.config,
            augment=data.settings.augment_train if params.augment.train is None else params.augment.train,
            sample=len(sampled),
            total=len(rows),
            rounds=request.rounds,
            budget=FREE_SHARE * free if request.budget is None else request.budget,
            budget_is=f"{FREE_SHARE:.0%} of the {format_bytes(free)} that are free where {folders.processed.parent} is"
            if request.budget is None
            else "",
            min_psnr=request.min_psnr,
            measured=trial.store(combine(params.ffcv.beton, grid, rows)),
        )
        try:
            page.picked = pick(page.measured, page.budget, request.min_psnr)
            page.loading = trial.load(page.picked)
        except FormworkError as error:
            page.failure = str(error)
            page.write(results)
            raise
        page.write(results)


def _check_originals(rows: Sequence[Row], raw: Path) -> None:
    missing = [row.path for row in rows if not is_there(raw, row.path)]
    if missing:
        raise DatasetError(
            f"{len(missing)} of the {len(rows)} images of the sample are missing, {printable(raw / missing[0])} for "
            f"one. Run `dvc pull {raw}`, or `dvc repro link` to list the images anew."
        )


@contextmanager
def _workplace(folder: Path) -> Iterator[Path]:
    """A folder for betons, on the disk that real ones are on. It is gone afterwards; what a killed process left in it
    is removed first.

    Raises:
        FormworkError: it cannot be written, or another process works in it.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY)
    if not try_lock(lock):
        os.close(lock)
        raise FormworkError(f"Another process is tuning in {folder}. Wait for it, or stop it.")
    try:
        for left in folder.iterdir():
            left.unlink()
        yield folder
    finally:
        shutil.rmtree(folder)
        os.close(lock)
