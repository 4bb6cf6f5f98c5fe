"""What the decoder must know from the segments before the compressed data of a JPEG file (ITU-T T.81, annex B).

Read is what nearly all photos are: baseline, 8 bits, Huffman-coded, one scan of grey or YCbCr.
Whatever is anything else, or is not quite as the standard has it, is left to libjpeg-turbo.
"""

import numpy as np

from formwork.kernels.compile import inner_kernel
from formwork.kernels.jpeg.segments import (
    APP0,
    APP14,
    COM,
    DHT,
    DQT,
    DRI,
    SOF0,
    SOI,
    SOS,
    compiled_segment,
)

BLOCK = 8  # pixels, a side of what is transformed at once
LOOKAHEAD = 10  # bits that index a table of codes
LARGEST_DC, LARGEST_AC = 11, 10  # bits of a value in baseline JPEG
ROOM = 256  # bytes of zeros behind compressed data: more than the bits of a block can take
JFIF, ADOBE = np.array([*b"JFIF\0"], np.uint8), np.array([*b"Adobe"], np.uint8)
WHOLE_SCAN = (0, 63, 0)  # first and last coefficient, and bits left for later scans
HORIZONTAL, VERTICAL, QUANTISATION, DC, AC = range(5)
"""Columns of a frame: how many blocks of a component there are for one of chroma, and its tables."""

ZIGZAG = np.array(
    [
        *(0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7),
        *(14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39),
        *(46, 53, 60, 61, 54, 47, 55, 62, 63),
    ],
    np.int64,
)
"""T.81, figure A.6: for each coefficient in the order of the file, its place in a block, row by row."""


@inner_kernel
def read_headers(data, height, width, frame, quantisation, definitions):
    """Read up to the compressed data.

    Args:
        data: (bytes,) uint8.
        height, width: what the image must have, in pixels.
        frame: (3, 5) int64 out, a row for each component.
        quantisation: (4, 64) int16 out, by table, row by row.
        definitions: (4,) int64 out, where in data the definition of each Huffman table stands: 0 and 1 of DC, then of
            AC; 0 where there is none.

    Returns:
        The first byte of the compressed data; the number of components, 1 or 3; and how many units of blocks there are
        between two restart markers, 0 if there are no such markers. (0, 0, 0) where the file is for libjpeg-turbo.
    """
    size = data.size
    count = np.int64(0)
    interval = np.int64(0)
    seen = 0  # quantisation tables, a bit for each
    colours = False  # whether the file says that they are YCbCr
    ids = np.zeros(3, np.uint8)
    definitions[:] = 0
    if size < 4 or data[0] != 0xFF or data[1] != SOI:
        return 0, 0, 0
    at = 2
    while True:
        marker, start, stop = compiled_segment(data, at)
        if marker == 0:
            return 0, 0, 0
        length = stop - start + 2
        if marker == SOF0:
            if count > 0 or length < 8 or data[start] != 8:
                return 0, 0, 0
            if _word(data, start + 1) != height or _word(data, start + 3) != width:
                return 0, 0, 0
            count = np.int64(data[start + 5])
            if count not in (1, 3) or length != 8 + 3 * count:
                return 0, 0, 0
            for c in range(count):
                place = start + 6 + 3 * c
                ids[c] = data[place]
                frame[c, HORIZONTAL], frame[c, VERTICAL] = data[place + 1] >> 4, data[place + 1] & 15
                frame[c, QUANTISATION] = data[place + 2]
            if count == 1 and 1 <= frame[0, HORIZONTAL] <= 4 and 1 <= frame[0, VERTICAL] <= 4:
                frame[0, HORIZONTAL], frame[0, VERTICAL] = 1, 1  # it is sampled for each pixel, whatever they say
        elif marker == DQT:
            while start < stop:
                table = np.int64(data[start])
                if table > 3 or start + 65 > stop:  # above 3: 16 bits, or no such table
                    return 0, 0, 0
                for k in range(64):
                    quantisation[table, ZIGZAG[k]] = data[start + 1 + k]
                seen |= 1 << table
                start += 65
        elif marker == DHT:
            while start < stop:
                table = np.int64(data[start])
                if table not in (0x00, 0x01, 0x10, 0x11) or start + 17 > stop:
                    return 0, 0, 0
                symbols = 0
                for k in range(16):
                    symbols += np.int64(data[start + 1 + k])
                if symbols > 256 or start + 17 + symbols > stop:
                    return 0, 0, 0
                definitions[2 * (table >> 4) + (table & 1)] = start + 1
                start += 17 + symbols
        elif marker == APP0:
            if length >= 16 and _spells(data, start, JFIF):
                if data[start + 5] != 1:  # its version
                    return 0, 0, 0
                colours = True
        elif marker == APP14:
            if length >= 14 and _spells(data, start, ADOBE):
                if data[start + 11] != 1:
                    return 0, 0, 0
                colours = True
        elif marker == SOS:
            if count == 0 or length != 6 + 2 * count or np.int64(data[start]) != count:
                return 0, 0, 0
            for c in range(count):
                tables = np.int64(data[start + 2 + 2 * c])
                dc, ac, quantiser = tables >> 4, tables & 15, frame[c, QUANTISATION]
                if data[start + 1 + 2 * c] != ids[c] or dc > 1 or ac > 1 or quantiser > 3:
                    return 0, 0, 0
                if definitions[dc] == 0 or definitions[2 + ac] == 0 or not seen >> quantiser & 1:
                    return 0, 0, 0
                frame[c, DC], frame[c, AC] = dc, 2 + ac
            for k in range(3):
                if data[stop - 3 + k] != WHOLE_SCAN[k]:
                    return 0, 0, 0
            if count == 3 and not colours and not (ids[0] == 1 and ids[1] == 2 and ids[2] == 3):
                return 0, 0, 0
            return (stop, count, interval) if _usual_sampling(frame, count) else (0, 0, 0)
        elif marker == DRI:
            if length != 4:
                return 0, 0, 0
            interval = _word(data, start)
        elif not (marker == COM or APP0 < marker <= APP0 + 15):
            return 0, 0, 0
        at = stop


@inner_kernel
def _usual_sampling(frame, count):
    """Whether it is grey, 4:4:4, 4:2:2 or 4:2:0."""
    h, v = frame[0, HORIZONTAL], frame[0, VERTICAL]
    if count == 1:
        return h == 1 and v == 1
    for c in range(1, 3):
        if frame[c, HORIZONTAL] != 1 or frame[c, VERTICAL] != 1:
            return False
    return (h == 1 and v == 1) or (h == 2 and v == 1) or (h == 2 and v == 2)


@inner_kernel
def _word(data, at):
    return np.int64(data[at]) << 8 | np.int64(data[at + 1])


@inner_kernel
def _spells(data, at, expected):
    same = True
    for i in range(len(expected)):
        same &= data[at + i] == expected[i]
    return same
