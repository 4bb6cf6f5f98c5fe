"""Decode a part of a JPEG file.

All of the compressed data is read, so that damage anywhere is seen; transformed, enlarged and made RGB is only what is
asked for. Whatever is unusual or damaged is refused, and left to libjpeg-turbo and its verdict.
"""

import numpy as np

from formwork.kernels.compile import inner_kernel, kernel
from formwork.kernels.jpeg.colour import CENTRE, STEP, enlarge_both, enlarge_width, to_rgb
from formwork.kernels.jpeg.headers import AC, BLOCK, DC, HORIZONTAL, QUANTISATION, VERTICAL, read_headers
from formwork.kernels.jpeg.huffman import (
    DEFINITION,
    LONG,
    LOOKAHEAD,
    ROOM,
    find_marker,
    make_tables,
    read_block,
    unstuff,
)
from formwork.kernels.jpeg.idct import inverse_transform
from formwork.kernels.jpeg.segments import EOI, RST0

SLACK = 3 * STEP  # bytes behind the pixels of an image that may be written
LARGEST = 1 << 24  # pixels of an image: the memory for larger ones would be too much, libjpeg-turbo needs a few rows
REACH = 1  # pixels around a pixel whose chroma its own is made of
NARROWEST = 3  # samples in a row of chroma that is enlarged smoothly
ALIGNMENT = 64  # bytes


@kernel
def new_decoder():
    """Tables, and memory for a block, that are used again from one image to the next by one thread."""
    return (
        np.zeros((4, DEFINITION + 1), np.uint8),
        np.zeros((4, 1 << LOOKAHEAD), np.uint16),
        np.zeros((4, LONG), np.int32),
        _aligned(4 * 64).reshape(4, 64),
        _aligned(80),
    )


@inner_kernel
def _aligned(size):
    """(size,) int16 zeros."""
    memory = np.zeros(size + ALIGNMENT, np.int16)
    start = (-memory.ctypes.data % ALIGNMENT) // 2
    return memory[start : start + size]


@kernel
def memory_needed(height, width, size):
    """Bytes for the compressed data of a file of `size` bytes, for the samples of its image, and for a few rows."""
    if height * width > LARGEST:
        return 0
    return size + ROOM + 3 * (height + 2 * BLOCK) * (width + 2 * BLOCK) + 8 * (width + 4 * BLOCK + STEP)


@kernel
def decode(data, height, width, top, bottom, left, right, whole, decoder, memory, pixels):
    """Decode the pixels of rows top <= y < bottom and columns left <= x < right of a JPEG file.

    Args:
        data: (bytes,) uint8. height, width: what the image must have.
        whole: read all of the compressed data, and refuse the file where any of it is damaged. Otherwise no more is
            read than it takes, and damage of the rest is not seen.
        decoder: from new_decoder. memory: (at least memory_needed(height, width, data.size),) uint8.
        pixels: (at least 3 * height * width + SLACK,) uint8 out, RGB row by row; what lies outside the part, and of
            SLACK, may be anything afterwards.

    Returns:
        Whether it was decoded. Otherwise the file is damaged, or of a kind that only libjpeg-turbo knows.
    """
    kept, entries, long, quantisation, block = decoder
    if height * width > LARGEST:
        return False
    frame, definitions = np.empty((3, 5), np.int64), np.empty(4, np.int64)
    start, count, interval = read_headers(data, height, width, frame, quantisation, definitions)
    if count == 0 or not make_tables(data, definitions, kept, entries, long):
        return False
    across, down = frame[0, HORIZONTAL], frame[0, VERTICAL]
    if across == 2 and -(-width // across) < NARROWEST:
        return False

    columns, rows = -(-width // (BLOCK * across)), -(-height // (BLOCK * down))  # of units: a block of chroma, and luma
    chroma_size = BLOCK * BLOCK * columns * rows
    luma_size = chroma_size * across * down
    luma = memory[:luma_size].reshape(BLOCK * down * rows, BLOCK * across * columns)
    chroma = memory[luma_size : luma_size + 2 * chroma_size].reshape(2, BLOCK * rows, BLOCK * columns)
    spare = memory[luma_size + 2 * chroma_size :]
    stream = memory[memory.size - data.size - ROOM :]

    wanted = (
        max(top - REACH, 0) // (BLOCK * down),
        min((bottom - 1 + REACH) // (BLOCK * down), rows - 1),
        max(left - REACH, 0) // (BLOCK * across),
        min((right - 1 + REACH) // (BLOCK * across), columns - 1),
        whole,
    )
    if not _read_samples(
        data, start, stream, frame, count, interval, entries, long, quantisation, block, wanted, luma, chroma
    ):
        return False
    _to_pixels(luma, chroma, spare, across, down, count, height, width, top, bottom, left, right, pixels)
    return True


@inner_kernel
def _read_samples(
    data, start, stream, frame, count, interval, entries, long, quantisation, block, wanted, luma, chroma
):
    """Read the blocks of the units that are wanted, and those before them up to a restart marker.

    Args:
        data: (bytes,) uint8. start, frame, count, interval, quantisation: see read_headers. entries, long: see
            make_tables. stream: (at least data.size - start + ROOM,) uint8, memory to work in.
        block: (at least 65,) int16, memory to work in.
        wanted: first and last row, first and last column of the units; and whether all others are read, too, to see
            whether they can be.
        luma: (H, W) uint8 out; chroma: (2, H', W') uint8 out: samples.

    Returns:
        Whether there was as much data as there should be, and could all be read.
    """
    across, down = frame[0, HORIZONTAL], frame[0, VERTICAL]
    rows, columns = luma.shape[0] // (BLOCK * down), luma.shape[1] // (BLOCK * across)
    units = rows * columns
    top, bottom, left, right, whole = wanted
    last_of_all = units - 1 if whole else bottom * columns + right
    source, coefficients = stream.ctypes.data, block.ctypes.data
    before = np.zeros(3, np.int64)
    first, restarts = np.int64(0), 0
    while first <= last_of_all:
        behind = min(first + interval, units) if interval > 0 else units
        last = behind - 1 if whole else _last_wanted(behind - 1, top, bottom, left, right, columns)
        if last < first:
            end = find_marker(data, start)
        else:
            length, end = unstuff(data, start, stream)
            at, buffer, bits = np.int64(0), np.uint64(0), np.int64(0)
            before[0] = before[1] = before[2] = 0
            row, column = first // columns, first % columns
            for _ in range(first, last + 1):
                used = top <= row <= bottom and left <= column <= right
                for c in range(count):
                    dc, ac = frame[c, DC], frame[c, AC]
                    dc, long_dc = entries.ctypes.data + dc * entries.strides[0], long.ctypes.data + dc * long.strides[0]
                    ac, long_ac = entries.ctypes.data + ac * entries.strides[0], long.ctypes.data + ac * long.strides[0]
                    table = quantisation.ctypes.data + frame[c, QUANTISATION] * quantisation.strides[0]
                    for v in range(frame[c, VERTICAL]):
                        for h in range(frame[c, HORIZONTAL]):
                            read, at, buffer, bits, before[c] = read_block(
                                source, at, buffer, bits, dc, long_dc, ac, long_ac, before[c], coefficients
                            )
                            if not read or at > length + 8:
                                return False
                            if not used:
                                continue
                            if c == 0:
                                y, x = BLOCK * (row * down + v), BLOCK * (column * across + h)
                                place, stride = luma.ctypes.data + y * luma.strides[0] + x, luma.strides[0]
                            else:
                                y, x = BLOCK * row, BLOCK * column
                                place = chroma.ctypes.data + (c - 1) * chroma.strides[0] + y * chroma.strides[1] + x
                                stride = chroma.strides[1]
                            inverse_transform(coefficients, table, place, stride)
                column += 1
                if column == columns:
                    row, column = row + 1, 0
            unread = 8 * (length - at) + bits
            if unread < 0 or (unread >= 8 and last == behind - 1):  # read were zeros behind the data, or not all of it
                return False
        marker = RST0 + restarts % 8 if behind < units else EOI
        if end + 1 >= data.size or data[end + 1] != marker:
            return False
        first, start, restarts = behind, end + 2, restarts + 1
    return True


@inner_kernel
def _last_wanted(unit, top, bottom, left, right, columns):
    """The last unit up to this one that is in rows top <= y <= bottom and columns left <= x <= right; -1: none."""
    row, column = unit // columns, unit % columns
    if row > bottom:
        row, column = bottom, right
    elif column < left:
        row, column = row - 1, right
    if row < top:
        return -1
    return row * columns + min(column, right)


@inner_kernel
def _to_pixels(luma, chroma, spare, across, down, count, height, width, top, bottom, left, right, pixels):
    """Make pixels of samples; see decode.

    Args:
        luma, chroma: see _read_samples. spare: uint8, memory for two rows.
        across, down: how many pixels there are for a sample of chroma.
    """
    chroma_width, chroma_height = -(-width // across), -(-height // down)
    low, high = max(left // across - 1, 0), min((right - 1) // across + 2, chroma_width)
    room = luma.shape[1] + 2 * STEP
    blue, red, sums = spare[:room], spare[room : 2 * room], np.empty(room, np.uint16)
    if count == 1:
        blue[:], red[:] = CENTRE, CENTRE
    for y in range(top, bottom):
        if count == 3:
            if across == 1:
                blue, red = chroma[0, y], chroma[1, y]
            elif down == 1:
                enlarge_width(chroma[0, y], chroma_width, low, high, blue)
                enlarge_width(chroma[1, y], chroma_width, low, high, red)
            else:
                near = y // 2
                far = min(max(near - 1 + 2 * (y % 2), 0), chroma_height - 1)
                enlarge_both(chroma[0, near], chroma[0, far], chroma_width, low, high, sums, blue)
                enlarge_both(chroma[1, near], chroma[1, far], chroma_width, low, high, sums, red)
        to_rgb(luma[y], blue, red, left, right, pixels[3 * width * y :])
