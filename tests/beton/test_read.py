"""A beton opens when it is whole, and names itself when it is not."""

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from formwork.beton import format as layout
from formwork.beton import provenance as origin
from formwork.beton.beton import Beton
from formwork.beton.read import open_beton
from formwork.conversion.write import write_beton
from formwork.errors import BetonError
from formwork.images.manifest import Manifest, write_manifest
from formwork.params import BetonParams
from tests import permissions
from tests.make_images import make_dataset, make_manifest

DESCRIPTORS = layout.HEADER.itemsize
METADATA = DESCRIPTORS + 2 * layout.FIELD.itemsize
PROVENANCE = METADATA + 6 * layout.METADATA.itemsize


@dataclass(frozen=True)
class Example:
    """A small beton of six images, raw and jpg ones."""

    manifest: Manifest
    path: Path
    content: bytes

    @property
    def allocations(self) -> int:
        """Where the allocation table starts."""
        return len(self.content) - len(self.manifest) * layout.ALLOCATION.itemsize


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Example:
    """Not to be changed."""
    folder = tmp_path_factory.mktemp("read")
    raw = make_dataset(folder / "raw", per_class=3, size=[(40, 40), (6, 5)])
    manifest = make_manifest(raw, folder / "train.csv")
    write_beton(manifest, raw, folder / "train.beton", BetonParams(write_mode="smart"), 1)
    return Example(manifest, folder / "train.beton", (folder / "train.beton").read_bytes())


@pytest.fixture
def example(whole: Example, tmp_path: Path) -> Example:
    """A copy to be damaged."""
    return replace(whole, path=shutil.copy(whole.path, tmp_path / "a beton"))


def refused(path: Path) -> str:
    """The message of the one error that there may be."""
    with pytest.raises(BetonError) as error:
        open_beton(path)
    assert str(path) in str(error.value)
    assert "Run `" in str(error.value)
    return str(error.value)


def in_bounds(beton: Beton, length: int) -> bool:
    """Whether a loader can use the tables without reading outside the file or dividing by nothing."""
    return (
        len(beton) == 6
        and beton.page_size >= layout.MIN_PAGE_SIZE
        and beton.page_size.bit_count() == 1
        and beton.offsets.min() >= METADATA
        and beton.sizes.min() > 0
        and (beton.offsets + beton.sizes).max() < length
        and set(beton.modes.tolist()) <= {layout.JPG, layout.RAW}
        and min(beton.widths.min(), beton.heights.min()) > 0
    )


def test_a_whole_beton_has_the_rows_of_its_manifest(whole: Example) -> None:
    beton = open_beton(whole.path)

    beton.of_manifest(whole.manifest)
    assert len(beton) == 6
    assert beton.field_names == ("image", "label")
    assert list(zip(beton.widths, beton.heights, strict=True)) == [(r.width, r.height) for r in whole.manifest.rows]
    assert beton.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert sorted(set(beton.modes.tolist())) == [layout.JPG, layout.RAW]
    assert beton.storage_order.tolist() == whole.manifest.storage_order.tolist()
    assert in_bounds(beton, len(whole.content))


# --- Cut short, or not a beton ------------------------------------------------------------------


def test_a_beton_cut_short_anywhere_is_refused(example: Example) -> None:
    size, entry = len(example.content), layout.ALLOCATION.itemsize
    edges = [DESCRIPTORS, DESCRIPTORS + layout.FIELD.itemsize, METADATA, METADATA + layout.METADATA.itemsize * 6]
    edges += [example.allocations + entry * i for i in range(7)]
    lengths = {0, 1, size - 1, *(edge + d for edge in edges for d in (-1, 0, 1))}
    lengths |= set(random.Random(0).sample(range(size), 200))

    for length in sorted(length for length in lengths if length < size):
        example.path.write_bytes(example.content[:length])
        assert "damaged or no beton" in refused(example.path)


@pytest.mark.parametrize("extra", [b"\0", b"\0" * 24, b"\xff" * 24])
def test_a_beton_with_something_after_its_end_is_refused(example: Example, extra: bytes) -> None:
    """FFCV would take it for part of the allocation table."""
    example.path.write_bytes(example.content + extra)

    assert "damaged or no beton" in refused(example.path)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("start", [0, DESCRIPTORS, METADATA])
def test_random_bytes_are_refused(example: Example, start: int, seed: int) -> None:
    """Also after a header, and descriptors, that look right."""
    noise = random.Random(seed).randbytes(len(example.content) - start)
    example.path.write_bytes(example.content[:start] + noise)

    assert "damaged or no beton" in refused(example.path)


# --- Damaged ------------------------------------------------------------------------------------


def without_provenance(content: bytes | bytearray) -> bytearray:
    """As FFCV's own writer would have written it."""
    return bytearray(content.replace(b"FORMWORK", bytes(8)))


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_no_flipped_byte_outside_the_samples_goes_unnoticed(example: Example, flip: int) -> None:
    end = PROVENANCE + origin.PROVENANCE.itemsize + len(origin.encode_json(open_beton(example.path).provenance.facts))
    end += 6 * origin.CHECKSUM.itemsize
    content = bytearray(example.content)
    for position in [*range(0, end, 3), *range(example.allocations, len(content))]:
        content[position] ^= flip
        example.path.write_bytes(content)
        content[position] ^= flip
        assert "is damaged" in refused(example.path)


def test_no_flipped_byte_does_harm_without_checksums(example: Example) -> None:
    """Of the tables' used bytes, each in turn: refused, or opened with tables that a loader can use."""
    descriptors = [DESCRIPTORS + i * layout.FIELD.itemsize + byte for i in range(2) for byte in range(17)]
    positions = [
        *range(DESCRIPTORS),
        *descriptors,
        *range(METADATA, METADATA + 6 * layout.METADATA.itemsize),
        *range(example.allocations, len(example.content)),
    ]
    content = without_provenance(example.content)
    opened = set()
    for position in positions:
        for flip in (0x01, 0x80, 0xFF):
            content[position] ^= flip
            example.path.write_bytes(content)
            content[position] ^= flip
            try:
                beton = open_beton(example.path)
            except BetonError:
                continue
            assert in_bounds(beton, len(content))
            if not np.array_equal(beton.labels, example.manifest.labels):
                with pytest.raises(BetonError, match="does not belong"):
                    beton.of_manifest(example.manifest)
            opened.add(position)

    assert opened.isdisjoint(range(DESCRIPTORS))  # the header has no byte to spare
    assert opened.isdisjoint(range(example.allocations, len(content), 24))


def write_table(example: Example, dtype: np.dtype, position: int, **values: int) -> None:
    """Set fields of one row of a table, of a beton without the checksum that would betray it."""
    content = without_provenance(example.content)
    row = np.frombuffer(content, dtype, 1, position)
    for name, value in values.items():
        (row["f0"] if name in layout.IMAGE.names else row)[name] = value
    example.path.write_bytes(content)


@pytest.mark.parametrize(
    ("table", "values", "reason"),
    [
        ("header", {"version": 1}, "its format version is 1, not 2"),
        ("header", {"num_samples": 0}, "damaged"),
        ("header", {"num_samples": 2**63}, "it has only"),
        ("header", {"num_fields": 65535}, "it has only"),
        ("header", {"page_size": 0}, "its page size is 0"),
        ("header", {"page_size": 3 << 21}, "its page size is"),
        ("header", {"alloc_table_ptr": 0}, "which cannot be all of them"),
        ("header", {"alloc_table_ptr": 2**64 - 1}, "which cannot be all of them"),
        ("field", {"type_id": 9}, "it has a field of an unknown type"),
        ("metadata", {"mode": 2}, "unknown mode 2"),
        ("metadata", {"mode": layout.RAW}, "the sizes of raw samples do not fit their pixels"),
        ("metadata", {"width": 0}, "no pixels"),
        ("metadata", {"data_ptr": 2**64 - 1}, "its allocation table does not fit its samples"),
    ],
)
def test_what_is_damaged_is_said(example: Example, table: str, values: dict[str, int], reason: str) -> None:
    tables = {
        "header": (layout.HEADER, 0),
        "field": (layout.FIELD, DESCRIPTORS),
        "metadata": (layout.METADATA, METADATA),
    }
    write_table(example, *tables[table], **values)

    assert reason in refused(example.path)


@pytest.mark.parametrize(
    ("table", "values", "fields"),
    [
        ("header", {"num_fields": 0}, "none"),
        ("header", {"num_fields": 1}, "image (RGBImageField)"),
        ("field", {"type_id": 1}, "image (IntField), label (IntField)"),
        ("field", {"type_id": 255}, "image (a field class of its own), label (IntField)"),
    ],
)
def test_a_beton_of_other_fields_is_not_called_damaged(
    example: Example, table: str, values: dict[str, int], fields: str
) -> None:
    dtype, position = {"header": (layout.HEADER, 0), "field": (layout.FIELD, DESCRIPTORS)}[table]
    write_table(example, dtype, position, **values)

    with pytest.raises(BetonError, match="Write it with one RGBImageField, the image, and one IntField") as error:
        open_beton(example.path)
    assert str(error.value).startswith(f"{example.path} cannot be used: its fields are {fields}. Write")
    assert "dvc" not in str(error.value)


@pytest.mark.parametrize(
    ("ptr", "size", "reason"),
    [
        (0, 10, "samples lie outside"),
        (METADATA, 10, "samples lie outside"),
        (METADATA + 200, 0, "samples lie outside"),
        (METADATA + 200, 2**63 + 5, "samples lie outside"),
        (METADATA + 200, 2**64 - 100, "samples lie outside"),
        (METADATA + 200, 10**6, "samples lie outside"),
        (2**63 + 10, 10, "samples lie outside"),
        (2**64 - 5, 10, "samples lie outside"),
    ],
)
def test_a_sample_that_lies_elsewhere_is_refused(example: Example, ptr: int, size: int, reason: str) -> None:
    """With tables that agree with one another."""
    sample = int(np.frombuffer(example.content, layout.ALLOCATION, 1, example.allocations)["sample_id"][0])
    write_table(example, layout.METADATA, METADATA + sample * layout.METADATA.itemsize, mode=layout.JPG, data_ptr=ptr)
    write_table(
        replace(example, content=example.path.read_bytes()), layout.ALLOCATION, example.allocations, ptr=ptr, size=size
    )

    assert reason in refused(example.path)


def test_a_beton_of_nothing_is_refused(example: Example) -> None:
    write_table(
        replace(example, content=example.content[:METADATA]), layout.HEADER, 0, num_samples=0, alloc_table_ptr=METADATA
    )

    assert "it holds no samples" in refused(example.path)


def test_samples_across_pages_are_refused(tmp_path: Path) -> None:
    """FFCV reads whole pages, and would read past the end of one."""
    raw = make_dataset(tmp_path / "raw", per_class=2, size=(900, 300), content="noise")
    path = tmp_path / "large.beton"
    manifest = make_manifest(raw, tmp_path / "train.csv")
    write_beton(manifest, raw, path, BetonParams(write_mode="raw"), 1)
    open_beton(path)
    example = Example(manifest, path, path.read_bytes())
    write_table(example, layout.HEADER, 0, page_size=layout.MIN_PAGE_SIZE)

    assert "samples lie across pages" in refused(path)


# --- Not to be had ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        (Path.unlink, "{path} is missing. Run `dvc pull {path}`, or `dvc repro convert`"),
        (lambda path: path.chmod(0), "{path} must not be read by this user. Run `chmod 644 {path}`"),
    ],
)
def test_a_beton_that_cannot_be_had_comes_with_a_command(
    example: Example, change: Callable[[Path], None], advice: str
) -> None:
    change(example.path)

    with permissions.enforced():
        assert advice.format(path=example.path) in refused(example.path)


def test_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BetonError, match=f"{tmp_path} is a folder without parts. Run `dvc pull {tmp_path}`"):
        open_beton(tmp_path)


def test_the_beton_of_another_version_of_the_manifest_is_refused(whole: Example, tmp_path: Path) -> None:
    """Though its labels are the same."""
    rows = [replace(row, sha256="0" * 64) for row in whole.manifest.rows]
    manifest = write_manifest(tmp_path / "train.csv", rows)

    with pytest.raises(BetonError, match=f"{whole.path} was made from another version of {manifest.path}.*`dvc repro"):
        open_beton(whole.path).of_manifest(manifest)


@pytest.mark.parametrize("change", ["one image fewer", "one more", "another label"])
def test_the_beton_of_another_manifest_is_refused(whole: Example, change: str, tmp_path: Path) -> None:
    """Though nothing in it says what it was made from, as in one of FFCV's own writer."""
    rows = list(whole.manifest.rows)
    if change == "another label":
        rows[2] = replace(rows[2], label=1)
    else:
        rows = [*rows, rows[-1]] if change == "one more" else rows[:-1]
    manifest = write_manifest(tmp_path / "train.csv", rows)
    beton = open_beton(whole.path)
    beton = replace(beton, files=(replace(beton.files[0], provenance=None),))

    with pytest.raises(BetonError, match=f"{whole.path} does not belong to {manifest.path}.* Run `dvc repro convert`"):
        beton.of_manifest(manifest)
