"""Betons written here are read by FFCV's own Loader, and those of its own DatasetWriter are read here."""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from ffcv.fields import BytesField, FloatField, IntField, JSONField, NDArrayField, RGBImageField, TorchTensorField
from ffcv.fields.basics import IntDecoder
from ffcv.fields.rgb_image import CenterCropRGBImageDecoder, encode_jpeg
from ffcv.loader import OrderOption
from ffcv.pipeline.compiler import Compiler
from ffcv.writer import DatasetWriter
from PIL import Image

import formwork
from formwork.beton import format as layout
from formwork.beton.beton import Beton
from formwork.beton.read import open_beton
from formwork.conversion import beton_file
from formwork.conversion.write import write_beton
from formwork.errors import BetonError
from formwork.images.manifest import Manifest
from formwork.loading.ffcv.import_ffcv import Loader  # FFCV's, which then leaves numba's types as they are
from formwork.params import BetonParams
from formwork.tools.inspect.contents import contents_of
from formwork.tools.inspect.describe import describe
from tests.make_images import make_dataset, make_manifest, noise, photo
from tests.workspace import ROOT

pytestmark = pytest.mark.slow

SIDE = 24
"""The shorter side of all images, and the crop: so that FFCV's decoder for images of many sizes scales none."""

ORDERS = {
    "sequential": (OrderOption.SEQUENTIAL, True),
    "random": (OrderOption.RANDOM, True),
    "random, own memory": (OrderOption.RANDOM, False),
    "quasi-random, own memory": (OrderOption.QUASI_RANDOM, False),
}
"""Order and os_cache."""


@pytest.fixture
def plain_python() -> Iterator[None]:
    """FFCV compiles each Loader for seconds; the code it compiles runs as it stands, too."""
    Compiler.set_enabled(False)
    yield
    Compiler.set_enabled(True)


def load(
    path: Path, order: OrderOption, os_cache: bool, side: int = SIDE, batch_size: int = 4
) -> dict[int, np.ndarray]:
    """Center crops by label, read by FFCV."""
    loader = Loader(
        str(path),
        batch_size=batch_size,
        num_workers=1,
        os_cache=os_cache,
        order=order,
        seed=0,
        drop_last=False,
        pipelines={"image": [CenterCropRGBImageDecoder((side, side), 1.0)], "label": [IntDecoder()]},
    )
    found = {}
    for images, labels in loader:
        for image, label in zip(images, labels, strict=True):
            assert int(label[0]) not in found
            found[int(label[0])] = image.copy()
    return found


def center(image: np.ndarray, side: int = SIDE) -> np.ndarray:
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    return image[top : top + side, left : left + side]


def stored_bytes(path: Path, beton: Beton, sample: int) -> bytes:
    start = int(beton.offsets[sample])
    return path.read_bytes()[start : start + int(beton.sizes[sample])]


def pillow(path: Path, beton: Beton, sample: int) -> np.ndarray:
    """The stored image, (H, W, 3), as Pillow decodes it."""
    data = stored_bytes(path, beton, sample)
    if beton.modes[sample] == layout.JPG:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image)
    return np.frombuffer(data, np.uint8).reshape(beton.heights[sample], beton.widths[sample], 3)


def source(manifest: Manifest, raw: Path, sample: int) -> np.ndarray:
    with Image.open(raw / manifest.rows[sample].path) as image:
        return np.asarray(image)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """20 images, each a class of its own so that its label says which it is; every other one is noise."""
    rng = np.random.default_rng(0)
    for number in range(20):
        path = tmp_path / "raw" / f"{number:02d}" / "image.png"
        path.parent.mkdir(parents=True)
        size = (SIDE, SIDE + 3 * number) if number % 4 < 2 else (SIDE + 2 * number, SIDE)
        (noise if number % 2 else photo)(rng, *size).save(path)
    return tmp_path / "raw"


@pytest.fixture
def manifest(raw: Path, tmp_path: Path) -> Manifest:
    return make_manifest(raw, tmp_path / "train.csv")


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize("mode", ["raw", "jpg", "smart", "proportion"])
@pytest.mark.parametrize(("order", "os_cache"), ORDERS.values(), ids=ORDERS)
def test_a_stock_loader_reads_what_is_written_here(
    manifest: Manifest, raw: Path, tmp_path: Path, mode: str, order: OrderOption, os_cache: bool
) -> None:
    path = tmp_path / "train.beton"
    write_beton(manifest, raw, path, BetonParams(write_mode=mode, smart_threshold=1.5), 2)
    beton = open_beton(path)

    found = load(path, order, os_cache)

    assert sorted(found) == list(range(20))
    assert len(set(beton.modes.tolist())) == (1 if mode in ("raw", "jpg") else 2)
    for sample, image in found.items():
        stored = pillow(path, beton, sample)
        if beton.modes[sample] == layout.RAW:
            assert (stored == source(manifest, raw, sample)).all()
            assert (image == center(stored)).all()
        else:  # FFCV decodes with a faster, less exact transform
            assert np.abs(image.astype(int) - center(stored)).max() <= 6


def test_also_with_its_compiler(manifest: Manifest, raw: Path, tmp_path: Path) -> None:
    path = tmp_path / "train.beton"
    write_beton(manifest, raw, path, BetonParams(write_mode="raw"), 2)

    for os_cache in (True, False):
        found = load(path, OrderOption.QUASI_RANDOM, os_cache)

        assert sorted(found) == list(range(20))
        assert all((image == center(source(manifest, raw, sample))).all() for sample, image in found.items())


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize(
    ("side", "count", "page"),
    [(256, 26, layout.MIN_PAGE_SIZE), (900, 3, 2 * layout.MIN_PAGE_SIZE)],
    ids=["several pages", "an image larger than a page"],
)
@pytest.mark.parametrize(("order", "os_cache"), ORDERS.values(), ids=ORDERS)
def test_a_stock_loader_reads_pages(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    side: int,
    count: int,
    page: int,
    order: OrderOption,
    os_cache: bool,
) -> None:
    monkeypatch.setattr(beton_file, "PAGE_SIZE", layout.MIN_PAGE_SIZE)
    rng = np.random.default_rng(0)
    for number in range(count):
        image = tmp_path / "raw" / f"{number:02d}" / "image.bmp"
        image.parent.mkdir(parents=True)
        noise(rng, side, side).save(image)
    manifest = make_manifest(tmp_path / "raw", tmp_path / "train.csv")
    path = tmp_path / "train.beton"
    write_beton(manifest, tmp_path / "raw", path, BetonParams(write_mode="raw"), 2)

    found = load(path, order, os_cache, side, batch_size=2)

    beton = open_beton(path)
    assert beton.page_size == page
    assert (beton.offsets // page).max() >= 2
    assert sorted(found) == list(range(count))
    for sample, image in found.items():
        assert (image == source(manifest, tmp_path / "raw", sample)).all()


# --- The other way ------------------------------------------------------------------------------

STOCK = {
    "raw": ("raw", 1, ["image", "label"]),
    "jpg": ("jpg", 1, ["image", "label"]),
    "workers": ("proportion", 3, ["image", "label"]),
    "label first": ("jpg", 2, ["label", "image"]),
    "a float as well": ("raw", 2, ["weight", "image", "label"]),
    "other names": ("raw", 1, ["x=image", "image=weight", "label=box", "0123456789abcdef=label"]),
    "fields of all types": ("jpg", 3, ["text", "json", "image", "box", "label", "weight", "tensor"]),
}
"""write_mode, workers and fields of a beton that FFCV writes: <name>=<kind>, or a kind that is its name."""


def test_a_stock_loader_reads_parts_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain_python: None
) -> None:
    """Of each image that the manifest lists, and no other, the pixels and the class."""
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/betons.md").read_text(), re.DOTALL)
    raw = make_dataset(Path("data/raw/photos"), per_class=9, size=(24, 24), content="noise")
    manifest = make_manifest(raw, Path("data/interim/photos/train.csv"))
    params = BetonParams(write_mode="raw", part_mb=0.01)
    write_beton(manifest, raw, Path("data/processed/photos/train.beton"), params, workers=1)
    (raw / "dog/003.png").unlink()
    manifest = make_manifest(raw, manifest.path)

    seen: list[tuple[bytes, int]] = []
    code = code.replace("224, 224), 224 / 256", "24, 24), 1")
    code += "        seen += zip([np.asarray(image).tobytes() for image in images], targets)\n"
    exec(code, {"seen": seen})
    expected = [(np.asarray(Image.open(raw / row.path)).tobytes(), row.label) for row in manifest.rows]
    assert sorted(seen) == sorted(expected)


def write_stock(path: Path, images: Sequence[np.ndarray], mode: str, workers: int, names: Sequence[str]) -> None:
    fields = {
        "image": RGBImageField(write_mode=mode, jpeg_quality=90),
        "label": IntField(),
        "weight": FloatField(),
        "text": BytesField(),
        "json": JSONField(),
        "box": NDArrayField(np.dtype("f4"), (4,)),
        "tensor": TorchTensorField(torch.float32, (2, 3)),
        "thumbnail": RGBImageField(write_mode="raw"),
        "index": IntField(),
    }
    kinds = {name: kind or name for name, _, kind in (name.partition("=") for name in names)}
    samples = [
        {
            "image": image,
            "label": 7 * i,
            "weight": i / 2,
            "text": np.frombuffer(b"text" * i, np.uint8),  # the first one is empty
            "json": {"number": i},
            "box": np.full(4, i, np.float32),
            "tensor": torch.full((2, 3), float(i)),
            "thumbnail": image[:4, :4].copy(),
            "index": i,
        }
        for i, image in enumerate(images)
    ]
    writer = DatasetWriter(
        str(path),
        {name: fields[kind] for name, kind in kinds.items()},
        page_size=layout.MIN_PAGE_SIZE,
        num_workers=workers,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it forks, and Python 3.12 and later warn of threads then
        writer.from_indexed_dataset([tuple(sample[kind] for kind in kinds.values()) for sample in samples], chunksize=5)


@pytest.mark.parametrize(("mode", "workers", "names"), STOCK.values(), ids=STOCK)
def test_what_ffcv_writes_is_read_here(
    manifest: Manifest, raw: Path, tmp_path: Path, mode: str, workers: int, names: list[str]
) -> None:
    images = [source(manifest, raw, sample) for sample in range(20)]
    path = tmp_path / "stock.beton"
    write_stock(path, images, mode, workers, names)

    beton = open_beton(path)

    names = [name.partition("=")[0] for name in names]
    assert beton.field_names == tuple(names)
    assert beton.labels.tolist() == [7 * sample for sample in range(20)]
    assert beton.heights.tolist() == [image.shape[0] for image in images]
    assert beton.widths.tolist() == [image.shape[1] for image in images]
    assert beton.page_size == layout.MIN_PAGE_SIZE
    assert {layout.MODE_NAMES[m] for m in beton.modes.tolist()} == ({"raw", "jpg"} if mode == "proportion" else {mode})
    for sample, image in enumerate(images):
        expected = image if beton.modes[sample] == layout.RAW else encode_jpeg(image, 90)
        assert stored_bytes(path, beton, sample) == expected.tobytes()
    read = formwork.read_beton(path)
    assert (read.class_names, read.field_names) == (None, tuple(names))
    for sample, (pixels, label) in enumerate(read):
        assert label == 7 * sample
        assert np.array_equal(pixels, pillow(path, beton, sample))
    others = [name for i, name in enumerate(names) if i not in (beton.files[0].image_field, beton.files[0].label_field)]
    shown = " ".join(describe(beton, contents_of(beton, None)).split())
    assert (f"and not read: {', '.join(others)} Stored as" if others else "Fields image, label Stored as") in shown


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["image", "thumbnail", "label"], "image (RGBImageField), thumbnail (RGBImageField), label (IntField)"),
        (["image", "label", "index"], "image (RGBImageField), label (IntField), index (IntField)"),
        (["image", "weight"], "image (RGBImageField), weight (FloatField)"),
        (["box", "label"], "box (NDArrayField), label (IntField)"),
        (["text", "json", "tensor"], "text (BytesField), json (JSONField), tensor (TorchTensorField)"),
    ],
)
def test_a_beton_of_ffcv_with_other_fields_is_told_from_a_damaged_one(
    tmp_path: Path, names: list[str], said: str
) -> None:
    path = tmp_path / "stock.beton"
    write_stock(path, [np.full((8, 9, 3), i, np.uint8) for i in range(4)], "raw", 1, names)

    with pytest.raises(BetonError) as error:
        formwork.read_beton(path)
    assert str(error.value).startswith(f"{path} cannot be used: its fields are {said}. Write it with one RGBImageField")
    assert "damaged" not in str(error.value)
    assert "dvc" not in str(error.value)
