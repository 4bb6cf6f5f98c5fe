"""The tool shows what a beton holds, and names what is bad in it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import formwork
from formwork.beton.read import open_beton
from formwork.conversion.write import write_beton
from formwork.errors import BetonError
from formwork.images.manifest import Manifest
from formwork.kernels import libjpeg
from formwork.params import BetonParams
from formwork.tools.inspect.contents import contents_of, find_manifest
from formwork.tools.inspect.describe import describe, histogram
from formwork.tools.inspect.verify import find_damage, verify
from tests.beton.test_stock_ffcv import write_stock
from tests.make_images import make_dataset, make_manifest
from tests.processes import TIMEOUT

pytestmark = pytest.mark.slow

PARAMS = {
    "raw": {"write_mode": "raw"},
    "jpg": {"write_mode": "jpg", "passthrough": False},
    "smart": {"write_mode": "smart", "smart_threshold": 1.1},
    "passed through": {"write_mode": "jpg"},
}


def make_beton(data: Path, **params: object) -> tuple[Path, Manifest]:
    """data/processed/pets/train.beton of 30 images in two classes, JPEG files that compress well and badly, and its
    manifest at its place."""
    raw = make_dataset(data / "raw/pets", ["cat", "dog"], per_class=10, size=[(70, 50), (9, 8)], format="JPEG")
    make_dataset(raw, ["dog & co"], per_class=10, size=(40, 40), content="noise")
    manifest = make_manifest(raw, data / "interim/pets/train.csv")
    path = data / "processed/pets/train.beton"
    write_beton(manifest, raw, path, BetonParams(**params), 2)
    return path, manifest


def make_stock(path: Path, mode: str) -> Path:
    """20 images, label 7 times the number."""
    rng = np.random.default_rng(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [rng.integers(0, 256, (20 + i, 30, 3), dtype=np.uint8) for i in range(20)]
    write_stock(path, images, mode, 1, ["image", "label"])
    return path


def flip(path: Path, *samples: int) -> None:
    """Change a byte in the middle of each sample."""
    beton, content = open_beton(path), bytearray(path.read_bytes())
    for sample in samples:
        content[int(beton.offsets[sample] + beton.sizes[sample] // 2)] ^= 0x10
    path.write_bytes(content)


def tool(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    script = Path(formwork.__file__).parents[1] / "inspect_beton.py"
    command = [sys.executable, script, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT, check=False)


# --- As a process -------------------------------------------------------------------------------


def test_a_whole_beton_is_shown_and_verified(tmp_path: Path) -> None:
    _, manifest = make_beton(tmp_path / "data", **PARAMS["smart"])

    done = tool(tmp_path, "data/processed/pets/train.beton", "--verify")

    assert done.returncode == 0, done.stderr
    assert "30 images of 3 classes" in done.stdout
    assert manifest.digest in done.stdout
    assert "write_mode smart" in done.stdout
    assert "cat (10), dog (10), dog & co (10)" in done.stdout
    assert "All 30 samples of data/processed/pets/train.beton have the checksums" in done.stdout
    with Image.open(tmp_path / "results/inspect/pets_train.png") as picture:
        assert picture.size[0] > 800


def test_bad_samples_are_named_with_their_sources(tmp_path: Path) -> None:
    path, manifest = make_beton(tmp_path / "data", **PARAMS["passed through"])
    flip(path, 3, 25)

    done = tool(tmp_path, path.relative_to(tmp_path), "--verify", "--sheet", "sheet.png")

    assert done.returncode == 1
    assert [line for line in done.stdout.splitlines() if line.startswith("sample ")] == [
        f"sample {sample} ({manifest.rows[sample].class_name}, data/raw/pets/{manifest.rows[sample].path}): it does "
        "not have the checksum that it was written with"
        for sample in (3, 25)
    ]
    assert "ERROR: 2 of 30 samples of data/processed/pets/train.beton are damaged. Run `chmod u+w" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "sheet.png").is_file()
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("damage", ["tables", "cut short", "missing", "a folder", "no beton"])
def test_what_cannot_be_opened_is_an_error(tmp_path: Path, damage: str) -> None:
    path, _ = make_beton(tmp_path / "data", **PARAMS["raw"])
    content = bytearray(path.read_bytes())
    path.unlink()
    if damage == "tables":
        content[3000] ^= 1
        path.write_bytes(content)
    elif damage == "cut short":
        path.write_bytes(content[:-500])
    elif damage == "a folder":
        path.mkdir()
    elif damage == "no beton":
        path.write_bytes(b"no beton" * 1000)

    done = tool(tmp_path, path, "--verify")

    assert done.returncode == 1
    assert done.stderr.startswith(f"ERROR: {path}")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()


def test_a_beton_of_ffcvs_own_writer_is_shown_and_verified(tmp_path: Path) -> None:
    make_stock(tmp_path / "elsewhere" / "stock.beton", "jpg")

    done = tool(tmp_path, "elsewhere/stock.beton", "--verify")

    assert done.returncode == 0, done.stderr
    assert "No provenance" in done.stdout
    assert "label 7 (1)" in done.stdout
    assert "All 20 samples of elsewhere/stock.beton decode without a warning" in done.stdout
    assert (tmp_path / "results/inspect/elsewhere_stock.png").is_file()


# --- What is found ------------------------------------------------------------------------------


@pytest.mark.parametrize("params", PARAMS.values(), ids=PARAMS)
@pytest.mark.parametrize("ffcv", [True, False])
def test_any_flipped_byte_is_found(
    tmp_path: Path, params: dict[str, object], ffcv: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not ffcv:
        monkeypatch.setattr(libjpeg, "strict_decoder", lambda: None)
    path, _ = make_beton(tmp_path, **params)
    assert find_damage(open_beton(path), workers=3) == {}
    beton, whole = open_beton(path), path.read_bytes()
    rng = np.random.default_rng(0)

    for _ in range(30):
        sample = int(rng.integers(30))
        content = bytearray(whole)
        content[int(rng.integers(beton.offsets[sample], beton.offsets[sample] + beton.sizes[sample]))] ^= 1
        path.write_bytes(content)
        assert list(find_damage(open_beton(path), workers=3)) == [sample]


@pytest.mark.parametrize("ffcv", [True, False])
def test_damaged_jpegs_are_found_without_checksums(tmp_path: Path, ffcv: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_stock(tmp_path / "stock.beton", "jpg")
    if not ffcv:
        monkeypatch.setattr(libjpeg, "strict_decoder", lambda: None)
    beton, content = open_beton(path), bytearray(path.read_bytes())
    assert find_damage(beton, 2) == {}
    starts, ends = beton.offsets.tolist(), (beton.offsets + beton.sizes).tolist()
    content[starts[4] : ends[4]] = bytes(ends[4] - starts[4])
    content[starts[9] : ends[9]] = content[starts[9] : starts[9] + 400] + bytes(ends[9] - starts[9] - 400)
    frame = content.index(b"\xff\xc0", starts[11])
    content[frame + 6] ^= 1  # its height
    path.write_bytes(content)

    assert find_damage(open_beton(path), 2) == {
        4: "its JPEG data is damaged, or of another size",
        9: "its JPEG data is damaged",
        11: "its JPEG data is damaged, or of another size",
    }


def test_a_beton_cut_short_after_it_was_opened_is_found(tmp_path: Path) -> None:
    path, _ = make_beton(tmp_path, **PARAMS["raw"])
    beton = open_beton(path)
    last = int(beton.storage_order[-1])
    os.truncate(path, int(beton.offsets[last]) + 10)

    assert find_damage(beton, 2) == {last: "the file ends within it"}


def test_verify_says_how_many_are_bad(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, _ = make_beton(tmp_path, **PARAMS["raw"])
    flip(path, *range(30))

    with pytest.raises(BetonError, match="30 of 30 samples"):
        verify(open_beton(path), contents_of(open_beton(path), None), 2)
    assert capsys.readouterr().out.splitlines()[0].startswith("sample 0 (cat): ")


def test_a_beton_in_parts_is_shown_by_its_manifest(tmp_path: Path) -> None:
    """Labels in parts are positions: classes, sources and what no image needs any more are those of the manifest."""
    path, manifest = make_beton(tmp_path / "data", write_mode="raw", part_mb=0.05)
    (tmp_path / "data/raw/pets/cat/000.jpeg").unlink()
    make_manifest(tmp_path / "data/raw/pets", manifest.path)
    dead = int(open_beton(path).samples_of(manifest.sha256[:1])[0])
    bad = 0 if dead else 1
    flip(part := open_beton(path).path_of(bad), 0)

    done = tool(tmp_path, path.relative_to(tmp_path), "--verify")

    text = " ".join(done.stdout.split())
    assert f"29 images of 3 classes, {len(open_beton(path).files)} parts, " in text
    assert "Beside them 1 sample of images that are no more, 10.5 kB; `make repack` removes them" in text
    assert "cat (9), dog (10), dog & co (10)" in text
    row = int(np.flatnonzero(open_beton(path).samples_of(manifest.sha256) == 0)[0])
    source = f"{manifest.rows[row].class_name}, data/raw/pets/{manifest.paths[row]}"
    assert f"sample 0 in {part.name} ({source}): it does not have the checksum" in text
    assert f"touch {part.relative_to(tmp_path)}" in done.stderr
    assert (tmp_path / "results/inspect/pets_train.png").is_file()

    done = tool(tmp_path, part, "--sheet", "part.png")
    assert done.returncode == 0
    assert " of 3 classes, " in done.stdout
    manifest.path.unlink()
    assert "Classes" not in tool(tmp_path, part, "--sheet", "part.png").stdout


# --- Manifest -----------------------------------------------------------------------------------


def test_the_manifest_is_found_where_it_is_the_one(tmp_path: Path) -> None:
    path, manifest = make_beton(tmp_path)
    assert find_manifest(open_beton(path), None).rows == manifest.rows

    text = manifest.path.read_text()
    manifest.path.write_text(text.replace("000.jpeg", "001.jpeg"))
    assert find_manifest(open_beton(path), None) is None
    with pytest.raises(BetonError, match="made from another version of"):
        find_manifest(open_beton(path), manifest.path)

    manifest.path.unlink()
    assert find_manifest(open_beton(path), None) is None


def test_a_beton_that_is_a_link_into_a_cache_has_the_manifest_of_its_place(tmp_path: Path) -> None:
    path, manifest = make_beton(tmp_path / "data")
    cached = path.rename(tmp_path / "0123456789abcdef")
    path.symlink_to(cached)

    assert find_manifest(open_beton(path), None).rows == manifest.rows


# --- Text ---------------------------------------------------------------------------------------


def test_few_values_are_counted_each() -> None:
    assert histogram(np.array([8, 8, 100, 8])).splitlines() == [
        f"    8  3  {'#' * 40}",
        f"  100  1  {'#' * 14}",
    ]


@pytest.mark.parametrize("high", [100, 1_000_000])
def test_every_value_is_in_one_bin(high: int) -> None:
    values = np.random.default_rng(0).integers(60, high, 5000)

    lines = [line.split() for line in histogram(values).splitlines()]

    assert len(lines) == 10
    assert sum(int(line[3]) for line in lines) == 5000
    assert int(lines[0][0]) == values.min()
    assert int(lines[-1][2]) == values.max()
    for (start, _, stop, count, *_), following in zip(lines, [*lines[1:], [high]], strict=True):
        assert int(count) == np.count_nonzero((values >= int(start)) & (values <= int(stop)))
        assert following == [high] or int(following[0]) == int(stop) + 1


def test_the_report_says_what_is_stored(tmp_path: Path) -> None:
    path, _ = make_beton(tmp_path, **PARAMS["smart"])

    text = describe(open_beton(path), contents_of(open_beton(path), None))

    assert f"({path.stat().st_size:,} bytes), in pages of 8.39 MB" in text
    beton = open_beton(path)
    jpg = int((beton.modes == 0).sum())
    assert 0 < jpg < 30
    assert f"jpg {jpg} ({jpg / 30:.1%}), raw {30 - jpg} ({1 - jpg / 30:.1%})" in text
    assert f"70 x 50  10  {'#' * 40}" in text
    assert all(len(line) <= 100 for line in text.splitlines()[1:])
