"""Compiled kernels: from a sample's bytes in a beton to its pixels in a batch, without Python in between.

They are plain functions of arrays, cached on disk by numba, that release the interpreter's lock; threads run them on
parts of a batch. JPEGs are decoded by the libturbojpeg that ffcv is linked with.
"""

import ctypes

import llvmlite.binding
import numpy as np
from numba import njit, types

from formwork.beton.format import RAW
from formwork.loading.threads import thread_counts_kept
from formwork.resize import resize

with thread_counts_kept():
    import ffcv._libffcv

# Sample status, in the order in which a sample is checked. JPEG_WARNING: all pixels were decoded, and the decoder had
# to guess at something, such as needless bytes between two parts of the file.
OK, OUTSIDE_FILE, UNKNOWN_MODE, WRONG_SIZE, BAD_JPEG, JPEG_WARNING = range(6)

RGB = 0  # TJPF_RGB
ACCURATE_DCT = 4096  # TJFLAG_ACCURATEDCT: the integer DCT that Pillow uses
WARNING = 0  # TJERR_WARNING

_turbojpeg = ctypes.CDLL(ffcv._libffcv.__file__)
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


@njit(nogil=True, cache=True)
def _place(image, shift, flip, table, out):
    """Shift, mirror and normalise an image: (S, S, 3) uint8 to (S, S, 3) float32, through table (256, 3) float32."""
    size = image.shape[0]
    for y in range(size):
        source_y = y + shift[0]
        for x in range(size):
            source_x = (size - 1 - x if flip else x) + shift[1]
            inside = 0 <= source_y < size and 0 <= source_x < size
            for c in range(3):
                value = image[source_y, source_x, c] if inside else np.uint8(0)
                out[y, x, c] = table[value, c]


@njit(nogil=True, cache=True)
def load(memory, offsets, sizes, modes, heights, widths, box, window, shift, flip, table, start, stop, out, status):
    """Decode and transform samples start <= i < stop of a batch; B samples, S the training resolution.

    Args:
        memory: (bytes,) uint8, the file or a part of it.
        offsets, sizes: (B,) int64, where each sample lies in memory.
        modes: (B,) uint8, 0 JPEG, 1 raw; heights, widths: (B,) int64 pixels.
        box, window, shift, flip: the formwork.loading.augment.Plan.
        table: (256, 3) float32, what each pixel value of each channel becomes.
        out: (B, S, S, 3) float32.
        status: (B,) uint8 out, OK or what is wrong with the sample, whose pixels are then undefined; after
            JPEG_WARNING they are what the decoder made of it.
    """
    handle = _init_decompress()
    scaled = np.empty(out.shape[1:], np.uint8)
    decoded = np.empty(0, np.uint8)
    for i in range(start, stop):
        h, w = heights[i], widths[i]
        if offsets[i] < 0 or sizes[i] <= 0 or offsets[i] + sizes[i] > memory.size:
            status[i] = OUTSIDE_FILE
            continue
        if modes[i] > RAW:
            status[i] = UNKNOWN_MODE
            continue
        data = memory[offsets[i] : offsets[i] + sizes[i]]
        found = OK
        if modes[i] == RAW:
            if data.size != h * w * 3:
                status[i] = WRONG_SIZE
                continue
            image = data.reshape(h, w, 3)
        else:
            if decoded.size < h * w * 3:
                decoded = np.empty(h * w * 3, np.uint8)
            pixels = decoded[: h * w * 3]
            if _decompress(handle, data.ctypes.data, data.size, pixels.ctypes.data, w, 0, h, RGB, ACCURATE_DCT) != 0:
                found = JPEG_WARNING if _error_code(handle) == WARNING else BAD_JPEG
            if found == BAD_JPEG:
                status[i] = found
                continue
            image = pixels.reshape(h, w, 3)
        resize(image, box[i], window[i], scaled)
        _place(scaled, shift[i], flip[i], table, out[i])
        status[i] = found
    _destroy(handle)
