"""A folder of parts: whatever its history, it holds the images of its manifest, and a change writes little of it."""

import os
import shutil
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from formwork.beton import provenance
from formwork.beton.read import open_beton
from formwork.conversion import encode, part, parts
from formwork.conversion.earlier import MADE_BY
from formwork.conversion.plan import cut
from formwork.conversion.summary import Summary
from formwork.conversion.write import write_beton
from formwork.errors import BetonError
from formwork.images.manifest import Manifest, write_manifest
from formwork.images.row import Row
from formwork.loading import beton_reader
from formwork.loading.base import SplitFiles
from formwork.loading.ffcv_loader import FFCVDataLoader
from formwork.params import BetonParams
from tests.loading.conftest import make_config

SIDE = 12  # pixels
PARAMS = BetonParams(write_mode="raw", part_mb=0.01)  # about 23 images
IMAGES = 600


@dataclass
class Dataset:
    """Images that come, go and move, and the beton that follows them.

    Attributes:
        images: seed of the pixels of each, by path.
    """

    folder: Path
    images: dict[str, int]
    params: BetonParams = PARAMS
    rows: dict[tuple[str, int], Row] = field(default_factory=dict)

    @property
    def beton(self) -> Path:
        return self.folder / "train.beton"

    def manifest(self) -> Manifest:
        classes = sorted({path.split("/")[0] for path in self.images})
        rows = [self._row(path, seed, classes.index(path.split("/")[0])) for path, seed in self.images.items()]
        return write_manifest(self.folder / "train.csv", rows)

    def _row(self, path: str, seed: int, label: int) -> Row:
        if (path, seed) not in self.rows:
            file = self.folder / "raw" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(file, "PNG")
            content = file.read_bytes()
            digest = sha256(content).hexdigest()
            self.rows[path, seed] = Row(path, "", 0, len(content), SIDE, SIDE, "RGB", "PNG", digest)
        return replace(self.rows[path, seed], class_name=path.split("/", maxsplit=1)[0], label=label)

    def write(self, path: Path | None = None, **options: bool) -> Summary:
        return write_beton(self.manifest(), self.folder / "raw", path or self.beton, self.params, 2, **options)

    def files(self, path: Path | None = None) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in (path or self.beton).iterdir()}

    def from_nothing(self) -> dict[str, bytes]:
        """The files that there would be without a history."""
        path = self.folder / "canonical" / "train.beton"
        shutil.rmtree(path, ignore_errors=True)
        self.write(path)
        return self.files(path)

    def batches(self, path: Path | list[Path], **config: object) -> list[torch.Tensor]:
        """Two epochs, shuffled and augmented."""
        split = SplitFiles("train", self.manifest(), path, self.folder / "raw")
        settings = {"batch_size": 64, "order": "quasi_random", "class_names": ["a", "b", "c", "d", "e"]}
        operations = [{"RandomCrop": {"padding": 2}}, {"RandomHorizontalFlip": {}}]
        loader = FFCVDataLoader(split, make_config(operations, **settings | config))
        return [tensor for _ in range(2) for batch in loader for tensor in batch]

    def check(self) -> None:
        """The folder gives what one file gives, to the bit."""
        one = self.folder / "one.beton"
        write_beton(self.manifest(), self.folder / "raw", one, self.params.model_copy(update={"part_mb": None}), 2)
        assert all(map(torch.equal, self.batches(self.beton), self.batches(one)))


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    return Dataset(tmp_path, {f"{'abcd'[seed % 4]}/{seed:04d}.png": seed for seed in range(IMAGES)})


@pytest.fixture
def written(data: Dataset) -> tuple[Dataset, dict[str, bytes]]:
    """A dataset whose beton is written, and its files."""
    data.write()
    return data, data.files()


def new_bytes(before: dict[str, bytes], after: dict[str, bytes]) -> float:
    """Share of the bytes in files that were not there before."""
    sizes = {name: len(content) for name, content in after.items()}
    return sum(size for name, size in sizes.items() if before.get(name) != after[name]) / sum(sizes.values())


def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The images that are encoded from now on."""
    paths: list[str] = []

    def watched(row: Row, raw: Path, params: BetonParams) -> encode.Stored:
        paths.append(row.path)
        return encode.encode(row, raw, params)

    monkeypatch.setattr(part, "encode", watched)
    return paths


def test_parts_have_about_the_size_that_was_asked_for(written: tuple[Dataset, dict[str, bytes]]) -> None:
    data, files = written
    sizes = [len(content) - 3_500 for name, content in files.items() if name != MADE_BY]  # but for what each has once

    by_name = data.batches(sorted(data.beton.glob("*.beton"), reverse=True))  # or as a list of files
    assert all(map(torch.equal, by_name, data.batches(data.beton)))
    assert len(sizes) == -(-IMAGES * (SIDE * SIDE * 3 + provenance.TABLES) // 10_000)
    assert all(0.8e4 <= size <= 1.05e4 for size in sizes)
    data.check()


def test_they_are_the_same_for_any_number_of_workers(data: Dataset, tmp_path: Path) -> None:
    for workers in (1, 3):
        write_beton(data.manifest(), tmp_path / "raw", tmp_path / f"{workers}.beton", PARAMS, workers)
    assert data.files(tmp_path / "1.beton") == data.files(tmp_path / "3.beton")


def change(data: Dataset, kind: str) -> set[str]:
    """Change about 1 % of the images; return the paths of those that are new."""
    paths = sorted(data.images)
    chosen = [paths[i] for i in np.random.default_rng(1).permutation(IMAGES)[: IMAGES // 100].tolist()]
    if kind == "removed":
        for path in chosen:
            del data.images[path]
        return set()
    new = {
        "replaced": {path: IMAGES + place for place, path in enumerate(chosen)},
        "replaced in a class": {path: IMAGES + place for place, path in enumerate(paths[:6])},
        "added": {f"{'abcd'[place % 4]}/new{place}.png": IMAGES + place for place in range(6)},
        "a new class": {f"bb/{place}.png": IMAGES + place for place in range(6)},
    }[kind]
    data.images |= new
    return set(new)


@pytest.mark.parametrize("kind", ["replaced", "replaced in a class", "added", "a new class", "removed"])
def test_a_change_of_1_percent_writes_1_percent(
    written: tuple[Dataset, dict[str, bytes]], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, before = written
    new, paths = change(data, kind), encoded(monkeypatch)

    data.write()

    assert new_bytes(before, data.files()) <= (0.015 + 4_000 / 2.6e5 if new else 0.0005)  # a file has tables
    assert set(paths) == new
    data.check()


def test_what_changes_no_image_writes_none(
    written: tuple[Dataset, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other labels, another name of a class, other folders."""
    data, before = written
    paths = encoded(monkeypatch)
    moved = {f"zz/{path}" if path < "a/0100" else path.replace("d/", "e/"): seed for path, seed in data.images.items()}
    data.images = moved
    data.manifest()
    monkeypatch.setattr(data, "rows", {})

    data.write()

    assert data.files() == before
    assert not paths


def test_going_back_gives_the_same_batches_and_repacking_the_same_bytes(
    written: tuple[Dataset, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, before = written
    images = dict(data.images)
    for kind in ("added", "removed"):
        change(data, kind)
        data.write()
    data.images = images
    paths = encoded(monkeypatch)
    data.write()
    assert new_bytes(before, data.files()) == 0
    data.write(repack=True)
    assert not paths
    assert data.files() == before == data.from_nothing()
    data.check()


@pytest.mark.parametrize("seed", range(3))
def test_any_history_gives_the_same_batches(written: tuple[Dataset, dict[str, bytes]], seed: int) -> None:
    """Changes of all kinds and sizes, equal images too; parts that are lost, and damaged ones."""
    data, _ = written
    rng = np.random.default_rng(seed)
    for step in range(8):
        paths = sorted(data.images)
        for path in rng.choice(paths, int(rng.integers(0, 60)), replace=False).tolist():
            seed_of = data.images.pop(path)
            if rng.random() < 0.5:
                data.images[f"{'abcde'[int(rng.integers(5))]}/{step}-{path.replace('/', '-')}"] = seed_of
        for number in range(int(rng.integers(0, 60))):
            data.images[f"{'abcde'[int(rng.integers(5))]}/{step}-{number}.png"] = int(rng.integers(0, 2 * IMAGES))
        found = sorted(data.beton.glob("*.beton"))
        if step == 3:
            os.unlink(found[0])
        if step == 5:
            content = bytearray(found[0].read_bytes())
            content[open_beton(found[0]).offsets[0]] ^= 1  # a sample, which nobody has looked at yet
            found[0].write_bytes(content)
            os.truncate(found[1], 3000)
            [data.images.pop(path) for path in sorted(data.images)[::3]]  # so that parts are written anew
        summary = data.write(repack=step == 6)
    assert summary.dead_share <= 0.67
    assert not list(data.folder.glob(".train.beton*"))
    if seed == 0:
        data.check()
    assert data.write(repack=True).dead_bytes == 0
    assert data.files() == data.from_nothing()


def test_many_small_changes_leave_no_heap_of_small_parts(written: tuple[Dataset, dict[str, bytes]]) -> None:
    data, before = written
    for number in range(40):
        data.images[f"a/one-more-{number}.png"] = IMAGES + number
        data.write()
    assert len(data.files()) < len(before) + 20
    assert data.write().written_parts == 0


def test_most_of_what_is_stored_is_in_use(written: tuple[Dataset, dict[str, bytes]]) -> None:
    data, _ = written
    for path in sorted(data.images)[: IMAGES * 9 // 10]:
        del data.images[path]
        if len(data.images) % 60 == 0:
            assert data.write().dead_share < 0.67
    data.check()


def test_other_ways_of_storing_share_nothing(
    written: tuple[Dataset, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, _ = written
    paths = encoded(monkeypatch)
    for how in ("params", "software", "code"):
        if how == "params":
            data.params = data.params.model_copy(update={"max_resolution": 11})
        elif how == "software":
            monkeypatch.setattr(provenance.Image, "__version__", "another")
        else:
            monkeypatch.setattr(parts, "code_digest", lambda *_: "another")
        data.write()
        assert len(set(paths)) == IMAGES, how
        paths.clear()
    data.params = data.params.model_copy(update={"part_mb": 0.03})
    data.write()
    assert not paths  # they are copied
    assert data.files() == data.from_nothing()


def test_below_the_size_it_is_one_file_and_the_forms_replace_each_other(
    written: tuple[Dataset, dict[str, bytes]],
) -> None:
    data, before = written
    data.params = PARAMS.model_copy(update={"part_mb": 1})
    data.write()
    assert data.beton.is_file()
    data.params = PARAMS
    data.write()
    assert data.files() == before


def test_a_folder_of_the_users_own_stays(data: Dataset) -> None:
    data.beton.mkdir()
    (data.beton / "mine.txt").touch()
    data.params = BetonParams()
    with pytest.raises(BetonError.__mro__[1], match="it is a folder"):
        data.write()
    assert (data.beton / "mine.txt").exists()


def test_a_failure_leaves_what_was_there(written: tuple[Dataset, dict[str, bytes]]) -> None:
    data, before = written
    data.images["a/gone.png"] = 10**6
    manifest = data.manifest()
    (data.folder / "raw/a/gone.png").unlink()
    with pytest.raises(BetonError, match=r"a/gone\.png"):
        write_beton(manifest, data.folder / "raw", data.beton, PARAMS, 2)
    assert data.files() == before
    assert not list(data.folder.glob(".train.beton*"))


def test_an_image_that_no_part_has_is_an_error(written: tuple[Dataset, dict[str, bytes]]) -> None:
    data, files = written
    (data.beton / next(name for name in files if name != MADE_BY)).unlink()
    with pytest.raises(BetonError, match=r"train\.beton lacks \d+ of the 600 images of .*train\.csv\. Run `dvc pull`"):
        data.batches(data.beton)


@pytest.mark.parametrize("os_cache", [True, False])
def test_more_parts_than_may_be_open_give_the_same_batches(
    written: tuple[Dataset, dict[str, bytes]], os_cache: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, _ = written
    whole = data.batches(data.beton, order="random")
    monkeypatch.setattr(beton_reader.BetonReader, "_may_be_held", lambda *_: False)
    monkeypatch.setattr(beton_reader.resource, "getrlimit", lambda _: (20, 20))  # 5 of 26
    before = len(os.listdir("/proc/self/fd"))
    assert all(map(torch.equal, data.batches(data.beton, order="random", os_cache=os_cache), whole))
    assert len(os.listdir("/proc/self/fd")) <= before + 8


def test_a_part_that_was_edited_or_replaced_is_noticed(
    written: tuple[Dataset, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, files = written
    monkeypatch.setattr(beton_reader.BetonReader, "_may_be_held", lambda *_: False)
    split = SplitFiles("train", data.manifest(), data.beton, data.folder / "raw")
    loader = FFCVDataLoader(split, make_config([{"Resize": {}}], batch_size=64))
    name = next(name for name in files if name != MADE_BY)
    (data.beton / name).write_bytes(files[name])
    with pytest.raises(BetonError, match=f"{name} was changed while it was in use"):
        list(loader)


def test_parts_are_read_in_the_order_in_which_they_are_asked_for(tmp_path: Path) -> None:
    """Several files of any writer are one beton, too."""
    params = BetonParams(write_mode="raw")
    for name, seeds in (("x", range(5)), ("y", range(5, 9))):
        data = Dataset(tmp_path / name, {f"a/{seed}.png": seed for seed in seeds}, params)
        data.write()
    paths = [tmp_path / name / "train.beton" for name in "yx"]
    beton = open_beton(paths)
    assert len(beton) == 9
    assert [beton.path_of(sample) for sample in (0, 3, 4, 8)] == [paths[0], paths[0], paths[1], paths[1]]
    for sample in range(9):
        content = beton.path_of(sample).read_bytes()
        assert beton.is_intact(sample, content[beton.offsets[sample] : beton.offsets[sample] + beton.sizes[sample]])


def test_sizes_are_cut_into_equal_parts() -> None:
    sizes = np.random.default_rng(0).integers(1, 100, 1000).astype(float)
    pieces = cut(sizes, 1000)
    assert [piece.start for piece in pieces] == [0, *(piece.stop for piece in pieces[:-1])]
    assert pieces[-1].stop == 1000
    assert all(850 <= sizes[piece].sum() <= 1100 for piece in pieces)
    assert cut(np.array([5.0]), 1000) == [slice(0, 1)]
    assert cut(np.empty(0), 1000) == []
    giant = cut(np.array([1.0, 5000.0, 1.0]), 1000)
    assert [index for piece in giant for index in range(piece.start, piece.stop)] == [0, 1, 2]
