"""Damaged JPEGs, and images of random sizes, through the compiled kernels.

All memory that a kernel is given lies between pages that must not be touched. What a kernel decodes must be what
libjpeg-turbo makes of the same bytes without a complaint; what it makes a batch of, and what it scales, must be what
Pillow and torch do. Files with odd metadata, and damaged ones, are read as the pipeline reads its images.
"""

import numpy as np
from PIL import Image

from formwork.beton.provenance import checksum
from formwork.kernels import libjpeg
from formwork.kernels.jpeg import decode as jpeg_kernels
from formwork.kernels.jpeg.huffman import DEFINITION, LONG, LOOKAHEAD
from formwork.kernels.scaling import resize
from formwork.loading import batch_kernels, plain_batches
from formwork.loading.augmentation.base import AugmentPlan
from formwork.loading.augmentation.views import Crops
from formwork.loading.batch_pixels import BatchPixels
from formwork.loading.buffers import BufferPool
from formwork.loading.dtypes import STORED, shift_and_scale
from formwork.loading.read import Data
from formwork.loading.status import BAD_JPEG, FAULTS, JPEG_WARNING, OK
from formwork.loading.verification import Checks
from tests.fuzz.guard import Guards
from tests.fuzz.jpegs import damaged, jpeg
from tests.fuzz.metadata import damage_anywhere, odd_metadata
from tests.make_images import noise, photo, pillow_resize

GUARDS = Guards()
NORMAL = shift_and_scale((0.5, 0.4, 0.3), (0.2, 0.3, 0.1))
SOUND = 0.2  # of the JPEGs are not damaged
NAMES = {OK: "OK", **FAULTS, JPEG_WARNING: "its JPEG data is doubtful"}


def case(seed: int) -> str:
    """See tests.fuzz.runner.Target."""
    rng = np.random.default_rng(seed)
    return PARTS[rng.choice(len(PARTS), p=SHARES)](rng)


def warm_up() -> None:
    rng = np.random.default_rng(0)
    for part in PARTS:
        part(rng)


def decoding(rng: np.random.Generator) -> str:
    """All or a part of a JPEG, by the kernel."""
    content, width, height = _file(rng)
    if rng.random() < 0.05:
        width += 1
    left, top, right, bottom = _part(rng, width, height) if rng.random() < 0.5 else (0, 0, width, height)
    at_start = bool(rng.random() < 0.3)
    data = GUARDS.copy("data", np.frombuffer(content, np.uint8), at_start)
    room = jpeg_kernels.memory_needed(height, width, data.size * int(rng.integers(1, 3)))
    memory = GUARDS.array("memory", room, at_start)
    pixels = GUARDS.array("pixels", 3 * height * width + jpeg_kernels.SLACK, at_start)
    whole = bool(rng.random() < 0.5)
    if not jpeg_kernels.decode(
        data, height, width, top, bottom, left, right, whole, _decoder(at_start), memory, pixels
    ):
        return "decode: left to libjpeg-turbo"
    expected, sound = libjpeg.decode_anyhow(content, width, height)
    if whole and not sound:
        raise AssertionError("the kernel decodes what libjpeg-turbo complains of")
    if expected is None:
        return "decode: a sound part of a damaged file"
    found = pixels[: -jpeg_kernels.SLACK].reshape(height, width, 3)[top:bottom, left:right]
    if not np.array_equal(found, expected[top:bottom, left:right]):
        raise AssertionError("the kernel decodes other pixels than libjpeg-turbo")
    return "decode: the pixels of libjpeg-turbo"


def _decoder(at_start: bool) -> tuple[np.ndarray, ...]:
    """As new_decoder(), in guarded memory; its blocks are aligned to 64 bytes."""
    shapes = (
        ("kept", np.zeros((4, DEFINITION + 1), np.uint8)),
        ("entries", np.zeros((4, 1 << LOOKAHEAD), np.uint16)),
        ("long", np.zeros((4, LONG), np.int32)),
        ("quantisation", np.zeros((4, 64), np.int16)),
    )
    block = GUARDS.copy("block", np.zeros(96, np.int16), at_start)[:80]
    return *(GUARDS.copy(name, values, at_start) for name, values in shapes), block


class GuardedPool(BufferPool):
    """Gives guarded memory of one name."""

    def __init__(self, name: str, at_start: bool):
        self.name, self.at_start = name, at_start

    def take(self, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return GUARDS.array(self.name, size, self.at_start).view(dtype).reshape(shape)


def loading(rng: np.random.Generator) -> str:
    """A batch of samples, by the kernels of FFCVDataLoader and by their plain form."""
    count, side = int(rng.integers(1, 4)), int(rng.integers(1, 40))
    samples, modes, heights, widths = [], [], [], []
    for _ in range(count):
        content, width, height = _file(rng)
        mode = int(rng.choice([0, 0, 0, 1, 1, 2]))
        if mode == 1:
            content = noise(rng, width, height).tobytes()[: -1 if rng.random() < 0.1 else None]
        if rng.random() < 0.05:
            height += 1
        for values, value in zip((samples, modes, heights, widths), (content, mode, height, width), strict=True):
            values.append(value)
    sizes = np.array([len(sample) for sample in samples])
    offsets = np.cumsum(sizes) - sizes
    if rng.random() < 0.1:
        offsets[rng.integers(count)] += int(rng.integers(-50, 51))
    if rng.random() < 0.1:
        sizes[rng.integers(count)] += int(rng.integers(-50, 51))
    at_start = bool(rng.random() < 0.3)
    memory = GUARDS.copy("samples", np.frombuffer(b"".join(samples), np.uint8), at_start)
    plan = _plan(rng, widths, heights, side)
    checksums = np.array([checksum(sample) for sample in samples], np.uint64)
    checks = Checks(rng.random(count) < 0.5, checksums, np.zeros(count, np.int64), trusted=bool(rng.random() < 0.5))
    dtype = STORED[str(rng.choice(list(STORED)))]
    results = []
    for form in (batch_kernels, plain_batches):
        pixels = BatchPixels(GuardedPool(form.__name__, at_start), [side], count, dtype)
        status = np.full(count, 255, np.uint8)
        numbers = (np.array(modes, np.uint8), np.array(heights), np.array(widths))
        form.load(Data(memory, offsets), sizes, *numbers, checks, Crops.of([plan]), NORMAL, 0, count, pixels, status)
        results.append((pixels.views[0], status))
    (ours, status), (plain, expected) = results
    for i in range(count):
        # The plain form reads all of a file, and the kernels no more of one that is trusted than it takes.
        unread = checks.trusted and status[i] == OK and expected[i] in (BAD_JPEG, JPEG_WARNING)
        if status[i] != expected[i] and not unread:
            raise AssertionError(f"a batch has status {status.tolist()}, and its plain form {expected.tolist()}")
        if expected[i] in (OK, JPEG_WARNING) and ours[i].tobytes() != plain[i].tobytes():
            raise AssertionError("a batch has other pixels than its plain form")
    return f"load: as the plain form: {NAMES[int(status.max())]}"


def scaling(rng: np.random.Generator) -> str:
    """A part of an image, scaled by the kernel and by Pillow."""
    width, height, columns, rows = (int(side) for side in np.exp(rng.uniform(0, np.log((1000, 1000, 300, 300)))))
    whole = np.array([0, 0, width, height], np.int32)
    pixels = np.asarray((noise if rng.random() < 0.5 else photo)(rng, width, height))
    part = np.array(_part(rng, width, height), np.float32)
    if rng.random() < 0.5:  # edges between pixels
        part = np.clip(part + rng.uniform(-0.5, 0.5, 4).astype(np.float32), 0, whole[[2, 3, 2, 3]]).astype(np.float32)
    if part[0] >= part[2] or part[1] >= part[3]:
        part = whole.astype(np.float32)
    at_start = bool(rng.random() < 0.3)
    source = GUARDS.copy("source", pixels, at_start)
    out = GUARDS.array("scaled", rows * columns * 3, at_start).reshape(rows, columns, 3)
    resize(source, part, whole, out)
    expected = pillow_resize(Image.fromarray(pixels), (columns, rows), tuple(part.tolist()))
    if not np.array_equal(out, np.asarray(expected)):
        raise AssertionError("the kernel scales to other pixels than Pillow")
    return "scale: the pixels of Pillow"


PARTS = (decoding, loading, scaling, odd_metadata, damage_anywhere)
SHARES = (0.5, 0.2, 0.12, 0.12, 0.06)  # of the inputs


def _file(rng: np.random.Generator) -> tuple[bytes, int, int]:
    content, width, height = jpeg(rng)
    return content if rng.random() < SOUND else damaged(rng, content), width, height


def _part(rng: np.random.Generator, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom; each is the image's own edge as often as not."""
    (left, top), (right, bottom) = np.sort([rng.choice(side + 1, 2, replace=False) for side in (width, height)]).T
    whole = rng.random(4) < 0.5
    edges = np.where(whole, (0, 0, width, height), (left, top, right, bottom)).tolist()
    return edges[0], edges[1], edges[2], edges[3]


def _plan(rng: np.random.Generator, widths: list[int], heights: list[int], side: int) -> AugmentPlan:
    boxes = np.array([_part(rng, width, height) for width, height in zip(widths, heights, strict=True)])
    whole = np.array([[0, 0, width, height] for width, height in zip(widths, heights, strict=True)])
    count = len(boxes)
    return AugmentPlan(
        box=boxes.astype(np.float32),
        window=np.where(rng.random((count, 1)) < 0.5, boxes, whole).astype(np.int32),
        shift=(rng.integers(-side - 1, side + 2, (count, 2)) * (rng.random((count, 1)) < 0.5)).astype(np.int32),
        flip=rng.random(count) < 0.5,
        fill=rng.integers(0, 256, 3).astype(np.uint8),
        values=[],
    )
