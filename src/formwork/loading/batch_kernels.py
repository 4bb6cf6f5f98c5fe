"""Compiled kernels: from a sample's bytes in a beton to its pixels in a batch, without Python in between.

They are plain functions of arrays, cached on disk by numba, that release the GIL; threads run them on parts of a batch.
The usual JPEGs are decoded by formwork.kernels.jpeg, all others by libjpeg-turbo: the pixels are the same. An image is
(rows, bytes) uint8 with a pixel in three bytes, as in formwork.kernels.resize.
"""

import ctypes

import llvmlite.binding
import numpy as np
from numba import types

from formwork.beton.format import RAW
from formwork.kernels.compile import inner_kernel, kernel
from formwork.kernels.jpeg.decode import SLACK, decode, memory_needed, new_decoder
from formwork.kernels.resize import HALF, PRECISION_BITS, scale_row, scale_widths
from formwork.kernels.turbojpeg import ACCURATE_DCT, RGB, library
from formwork.loading.augmentation.mixup import blend
from formwork.loading.dtypes import store, stored

# Sample status, in the order in which a sample is checked. JPEG_WARNING: all pixels were decoded, and the decoder had
# to guess at something, such as needless bytes between two parts of the file.
OK, OUTSIDE_FILE, UNKNOWN_MODE, WRONG_SIZE, BAD_JPEG, JPEG_WARNING = range(6)

WARNING = 0  # TJERR_WARNING

_turbojpeg = library()
for _name in ("tjInitDecompress", "tjDecompress2", "tjGetErrorCode", "tjDestroy"):
    # By name and not by address: numba can cache on disk what calls a named symbol.
    llvmlite.binding.add_symbol(_name, ctypes.cast(getattr(_turbojpeg, _name), ctypes.c_void_p).value)
_init_decompress = types.ExternalFunction("tjInitDecompress", types.intp())
_destroy = types.ExternalFunction("tjDestroy", types.int32(types.intp))
_error_code = types.ExternalFunction("tjGetErrorCode", types.int32(types.intp))
_decompress = types.ExternalFunction(
    "tjDecompress2",
    types.int32(
        types.intp,
        types.intp,
        types.uint64,
        types.intp,
        types.int32,
        types.int32,
        types.int32,
        types.int32,
        types.int32,
    ),
)


@inner_kernel
def _transform(source, box, window, shift, flip, normal, outside, line, out):
    """Scale, shift, mirror and normalise an image (H, 3 * W) uint8 into out, (S, 3 * S); see formwork.loading.dtypes.

    Args:
        normal: (2, 3 * S) float32, what is subtracted from a pixel's values, and what they are then multiplied by.
        outside: (3 * S,) of out's type, a row of what is shown outside the image.
        line: (3 * S,) uint8, memory to work in.
    """
    size = out.shape[0]
    image, first, count, weights, start = scale_widths(source, box, window, flip, size, size)
    dx = -shift[1] if flip else shift[1]  # the row is mirrored by now
    low, high = 3 * min(max(-dx, 0), size), 3 * max(min(size - dx, size), 0)
    subtract, multiply, line = normal[0, low:high], normal[1, low:high], line[low:high]
    start += low + 3 * dx
    for y in range(size):
        target = out[y]
        o = y + shift[0]
        if not 0 <= o < size or low >= high:
            _copy(outside, target, 0, len(target))
            continue
        _copy(outside, target, 0, low)
        _scale_and_store(image, first[o], start, count[o], weights[o], subtract, multiply, line, target[low:high])
        _copy(outside, target, high, len(target))


@inner_kernel
def _copy(source, target, start, stop):
    """target[start:stop] = source[start:stop], which numba compiles for two seconds, because of its error messages."""
    for i in range(start, stop):
        target[i] = source[i]


@inner_kernel
def _scale_and_store(source, top, start, count, weights, shift, scale, line, out):
    """scale_row and store, in one pass where few rows are added: what is stored is many times what they are made of.

    Args:
        source, top, start, count, weights: see scale_row. shift, scale, out: see store.
        line: uint8, as long as out, memory to work in.
    """
    length = np.uint64(len(out))
    if count == 1:
        w0 = weights[0]
        a = source[top, start : start + len(out)]
        for i in range(length):
            total = np.uint32(HALF + w0 * np.int32(a[i]))
            out[i] = stored(np.int32(total >> PRECISION_BITS), shift[i], scale[i], out)
    elif count == 2:
        w0, w1 = weights[0], weights[1]
        a, b = source[top, start : start + len(out)], source[top + 1, start : start + len(out)]
        for i in range(length):
            total = np.uint32(HALF + w0 * np.int32(a[i]) + w1 * np.int32(b[i]))
            out[i] = stored(np.int32(total >> PRECISION_BITS), shift[i], scale[i], out)
    elif count == 3:
        w0, w1, w2 = weights[0], weights[1], weights[2]
        a, b = source[top, start : start + len(out)], source[top + 1, start : start + len(out)]
        c = source[top + 2, start : start + len(out)]
        for i in range(length):
            total = np.uint32(HALF + w0 * np.int32(a[i]) + w1 * np.int32(b[i]) + w2 * np.int32(c[i]))
            out[i] = stored(np.int32(total >> PRECISION_BITS), shift[i], scale[i], out)
    else:
        scale_row(source, top, start, count, weights, line)
        store(line, shift, scale, out)


@inner_kernel
def _spread(normal, length):
    """(2, length) float32, the numbers of each channel for each byte of a row."""
    spread = np.empty((2, length), np.float32)
    for i in range(length):
        spread[0, i], spread[1, i] = normal[0, i % 3], normal[1, i % 3]
    return spread


@inner_kernel
def _decode(handle, data, pixels, height, width):
    """The status of a JPEG, whose pixels are put into `pixels`."""
    failed = _decompress(handle, data.ctypes.data, data.size, pixels.ctypes.data, width, 0, height, RGB, ACCURATE_DCT)
    if failed == 0:
        return OK
    return JPEG_WARNING if _error_code(handle) == WARNING else BAD_JPEG


@inner_kernel
def _used(start, end, low, high, size):
    """First and last row or column of an image that scaling the part between two edges to `size` pixels may read.

    Args:
        low, high: low <= i < high may take part.
    """
    reach = max((end - start) / size, 1.0) + 1.0
    return max(int(np.floor(start - reach)), low), min(int(np.ceil(end + reach)), high)


@kernel
def load(
    memory, offsets, sizes, modes, heights, widths, box, window, shift, flip, fill, normal, start, stop, out, status
):
    """Decode and transform samples start <= i < stop of a batch; B samples, S the training resolution.

    Args:
        memory: (bytes,) uint8, the file or a part of it.
        offsets, sizes: (B,) int64, where each sample lies in memory.
        modes: (B,) uint8, 0 JPEG, 1 raw; heights, widths: (B,) int64 pixels.
        box, window, shift, flip, fill: see formwork.loading.augmentation.base.AugmentPlan.
        normal: (2, 3) float32: value v of channel c becomes (v - normal[0, c]) * normal[1, c].
        out: (B, S, S, 3), of a type in formwork.loading.dtypes.STORED.
        status: (B,) uint8 out, OK or what is wrong with the sample, whose pixels are then undefined; after
            JPEG_WARNING they are what the decoder made of it.
    """
    handle = 0  # made for the first JPEG that is not a usual one
    decoder, decoded, memory_of_decoder = new_decoder(), np.empty(0, np.uint8), np.empty(0, np.uint8)
    size = out.shape[1]
    length = 3 * size
    spread = _spread(normal, length)
    outside = np.empty(length, out.dtype)
    line = np.empty(length, np.uint8)
    for i in range(length):
        line[i] = fill[i % 3]
    store(line, spread[0], spread[1], outside)
    for i in range(start, stop):
        h, w = heights[i], widths[i]
        status[i] = OK
        if offsets[i] < 0 or sizes[i] <= 0 or offsets[i] + sizes[i] > memory.size:
            status[i] = OUTSIDE_FILE
            continue
        if modes[i] > RAW:
            status[i] = UNKNOWN_MODE
            continue
        data = memory[offsets[i] : offsets[i] + sizes[i]]
        lines = out[i].reshape(size, length)
        if modes[i] == RAW:
            if data.size != h * w * 3:
                status[i] = WRONG_SIZE
                continue
            image = data.reshape(h, w * 3)
            _transform(image, box[i], window[i], shift[i], flip[i], spread, outside, line, lines)
        else:
            if decoded.size < h * w * 3 + SLACK:
                decoded = np.empty(h * w * 3 + SLACK, np.uint8)
            if memory_of_decoder.size < memory_needed(h, w, data.size):
                memory_of_decoder = np.empty(memory_needed(h, w, 2 * data.size), np.uint8)
            top, bottom = _used(box[i, 1], box[i, 3], window[i, 1], window[i, 3], size)
            left, right = _used(box[i, 0], box[i, 2], window[i, 0], window[i, 2], size)
            if not decode(data, h, w, top, bottom, left, right, decoder, memory_of_decoder, decoded):
                if handle == 0:
                    handle = _init_decompress()
                status[i] = _decode(handle, data, decoded, h, w)
            if status[i] != BAD_JPEG:
                image = decoded[: h * w * 3].reshape(h, w * 3)
                _transform(image, box[i], window[i], shift[i], flip[i], spread, outside, line, lines)
    if handle != 0:
        _destroy(handle)


@kernel
def finish(pixels, places, shares, normal, start, stop, out):
    """What is left to do with images start <= i < stop of a batch after pixel operations: mix and normalise them.

    Args:
        pixels: (N, S, S, 3) uint8, the images of the batch first.
        places, shares: (B,) int64, see formwork.loading.augmentation.mixup; both empty where nothing is mixed.
        normal, out: as for `load`; out is not `pixels`.
    """
    size, length = out.shape[1], 3 * out.shape[1]
    spread = _spread(normal, length)
    line = np.empty(length, np.uint8)
    for i in range(start, stop):
        image, lines = pixels[i].reshape(size, length), out[i].reshape(size, length)
        if len(shares):
            other, share = pixels[places[i]].reshape(size, length), np.int32(shares[i])
            for y in range(size):
                blend(image[y], other[y], share, line)
                store(line, spread[0], spread[1], lines[y])
        else:
            for y in range(size):
                store(image[y], spread[0], spread[1], lines[y])
