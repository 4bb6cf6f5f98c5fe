"""DVC redoes exactly what a change touches: params, images, and the dataset itself."""

import csv
import hashlib
import io
import re
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from formwork.datasets.splits import share_out
from formwork.images.manifest import SPLITS, read_manifest
from formwork.params.sections import Split
from tests.make_images import make_dataset
from tests.tools.compare.conftest import Quick, quick, quick_base
from tests.workspace import Workspace, snapshot

__all__ = ["quick", "quick_base"]  # fixtures

CONVERT = {"convert@train", "convert@val", "convert@test"}
TRAIN = {"train", "evaluate"}


def test_second_repro_does_nothing(repo: Workspace):
    """`dvc repro` after `dvc repro` executes no stage and leaves git clean."""
    result = repo.dvc("repro")
    assert result.ran == []
    assert "Data and pipelines are up to date." in result.output
    assert repo.changes() == set()


@pytest.mark.parametrize(
    ("param", "value", "stages"),
    [
        ("trainer__max_epochs", 2, {"train"}),
        ("data__use_ffcv", False, TRAIN),
        ("data__num_workers", 1, {"train"}),
        ("ffcv__order", "sequential", {"train"}),
        ("ffcv__beton__jpeg_quality", 50, CONVERT),
        ("data__split__val", 0.3, {"link"}),
        ("seed", 1, {"train"}),
    ],
)
def test_a_changed_param_touches_its_stages_alone(repo: Workspace, param: str, value: object, stages: set[str]):
    """A param makes just those stages outdated whose outputs it decides (and, as they run, those after them)."""
    repo.set_params(**{param: value})
    assert repo.outdated_stages() == stages


def test_settings_of_another_dataset_redo_nothing_but_link(repo: Workspace):
    """`link` looks at them, writes the same bytes, and all after it is up to date."""
    repo.set_params(datasets={"digits": {"resolution": 16}})
    assert repo.dvc("repro").ran == ["link"]


def images(repo: Workspace, split: str) -> list[str]:
    with (repo / f"data/interim/shapes/{split}.csv").open() as file:
        return [row["path"] for row in csv.DictReader(file)]


def touched(repo: Workspace, gone: str | None, new: bytes | None) -> set[str]:
    """The splits whose images change when a file of class a disappears, and one of other content appears there."""
    before: dict[bytes, str] = {}
    for split in SPLITS:
        manifest = read_manifest(repo / f"data/interim/shapes/{split}.csv")
        chosen = [row.class_name == "a" for row in manifest.rows]
        before |= {digest.tobytes(): split for digest in manifest.sha256[chosen]}
        if gone in list(manifest.paths):
            leaves = manifest.sha256[list(manifest.paths).index(gone)].tobytes()
    kept = [digest for digest in before if gone is None or digest != leaves]
    digests = [*kept, *([hashlib.sha256(new).digest()] if new else [])]
    found = share_out(np.array([list(digest) for digest in digests], np.uint8), [""] * len(digests), Split())
    after = {digest: SPLITS[split] for digest, split in zip(digests, found, strict=True)}
    return {split for _, split in before.items() ^ after.items()}


def drawings() -> Iterator[bytes]:
    for level in range(256):
        file = io.BytesIO()
        Image.new("RGB", (8, 8), (255, level, level)).save(file, "PNG")
        yield file.getvalue()


def edit(repo: Workspace, split: str) -> None:
    """Another content for an image, with which it stays in its split, as do all others."""
    paths = [path for path in images(repo, split) if path.startswith("a/")]
    tries = ((path, new) for path in paths for new in drawings() if touched(repo, path, new) == {split})
    path, new = next(tries)
    (repo / "data/raw/shapes" / path).write_bytes(new)


def add(repo: Workspace, split: str) -> None:
    """A new image that goes into the split, and moves no other."""
    new = next(new for new in drawings() if touched(repo, None, new) == {split})
    (repo / "data/raw/shapes/a/new.png").write_bytes(new)


def remove(repo: Workspace, split: str) -> None:
    path = next(path for path in images(repo, split) if path.startswith("a/") and touched(repo, path, None) == {split})
    (repo / "data/raw/shapes" / path).unlink()


@pytest.mark.parametrize(
    ("change", "split", "other"),
    [(add, "train", "val"), (remove, "train", "val"), (edit, "val", "train")],
)
def test_a_changed_image_converts_its_split_alone(repo: Workspace, change, split: str, other: str):
    """One image edited, added or removed: `link`, `convert` of its split, `train` and `evaluate` are done again."""
    before = (repo / f"data/processed/shapes/{other}.beton").stat()
    change(repo, split)
    assert repo.dvc("repro convert").ran == ["link", f"convert@{split}"]
    assert repo.outdated_stages() == TRAIN
    assert (repo / f"data/processed/shapes/{other}.beton").stat().st_mtime_ns == before.st_mtime_ns
    assert {path for path in repo.changes() if not path.startswith("results/")} == {"data/raw/shapes.dvc", "dvc.lock"}
    assert not repo.changes() & {f"results/{folder}{other}.json" for folder in ("convert/", "speed/convert_")}


def test_frozen_splits_run_link_alone(repo: Workspace):
    """The split file is written with the command that git needs; link reads it, and makes what it made before."""
    (command,) = re.findall(r"git add data/splits/\S+", repo.shell("python src/split.py").output)
    repo.shell(command)

    assert repo.dvc("repro").ran == ["link"]
    assert repo.changes() == {"data/splits/shapes.csv", "dvc.lock"}


def test_bad_images_stop_link_until_they_are_to_be_left_out(repo: Workspace):
    """`dvc repro` lists what is wrong; the param that it names leaves these files out, and nothing is left to do."""
    raw = repo / "data/raw/shapes"
    kept, copy = images(repo, "train")[:2]
    (raw / copy).write_bytes((raw / kept).read_bytes())
    (raw / "b/000.png").write_bytes(b"")
    stopped = repo.dvc("repro link", status=255).output
    assert "zero bytes                1  stopped\n    b/000.png: the file is empty" in stopped
    assert "b/000.png" in (repo / "results/link/findings.csv").read_text()

    (skip,) = re.findall(r"`(-S data\.on_bad_image=\S+)`", stopped)
    assert repo.dvc(f"exp run {skip} -S data.on_duplicate=skip link").ran == ["link"]

    left = {path for split in SPLITS for path in images(repo, split)}
    assert len(left) == 58
    assert {"b/000.png", copy}.isdisjoint(left)
    assert repo.dvc("repro link").ran == []


def test_betons_come_back_from_the_run_cache(repo: Workspace):
    """Another ffcv.beton converts again. Going back converts nothing: DVC has kept the first betons."""
    before = snapshot(repo / "data/processed")
    repo.set_params(ffcv__beton__write_mode="raw")
    assert set(repo.dvc("repro convert").ran) == CONVERT
    raw = snapshot(repo / "data/processed")
    assert all(raw[name] != before[name] for name in before)

    repo.set_params(ffcv__beton__write_mode="jpg")
    assert repo.dvc("repro").ran == []  # with these betons the model is up to date, too
    assert snapshot(repo / "data/processed") == before
    assert repo.changes() == set()


def test_a_beton_that_is_gone_or_edited_comes_back(repo: Workspace):
    """`train` depends on the .json beside it, which is unchanged: DVC puts the beton back, and runs nothing."""
    before = snapshot(repo / "data/processed")
    (repo / "data/processed/shapes/train.beton").unlink()
    with (repo / "data/processed/shapes/val.beton").open("ab") as file:
        file.write(b"more")
    assert repo.dvc("repro train").ran == []
    assert snapshot(repo / "data/processed") == before


def test_switching_datasets_and_back_converts_nothing(quick: Quick):
    """data.name to a second dataset, back, and forth again: each is converted once, and git sees no stray file."""
    make_dataset(quick / "data/raw/others", classes=("x", "y"), per_class=20, size=(9, 9))
    quick.dvc("add data/raw/others")
    assert quick.changes() == {"data/raw/others.dvc"}  # and no .gitignore
    quick.commit("Add the dataset others")

    quick.set_params(data__name="others")
    assert set(quick.dvc("repro convert").ran) == {"link"} | CONVERT
    metrics = {f"results/{path}{split}.json" for path in ("convert/", "speed/convert_") for split in SPLITS}
    assert quick.changes() == {"dvc.lock", "params.yaml"} | metrics
    others = snapshot(quick / "data/processed/others")

    quick.set_params(data__name="shapes")
    assert quick.dvc("repro").ran == []
    assert quick.changes() == set()

    quick.set_params(data__name="others")
    assert quick.dvc("repro convert").ran == []
    assert snapshot(quick / "data/processed/others") == others
