"""The codes in a JPEG's compressed data that change where a restart marker is put before them (ITU-T T.81, annex F).

Here compressed data is (bytes,) uint8 without the zeros behind each 0xFF, and with ROOM zeros at its end; places in it
are counted in bits. A table is known by its definition: how many codes of each length there are, in 16 bytes, and their
symbols.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from formwork.kernels.compile import either, kernel
from formwork.kernels.jpeg.headers import LARGEST_AC, LARGEST_DC, LOOKAHEAD, ROOM
from formwork.kernels.jpeg.segments import RST0

BEGIN, BEHIND, VALUE = range(3)
"""Of the first code of a component behind a marker: its place, that of what follows its value, and the coefficient."""

BLOCK_END, SKIP_ALL = 64, 128  # coefficients of a block; on how many its end leads, and no other code

# An entry of a table of codes: the lowest 8 bits are how many bits a code and its value take; those above are how many
# bits the value has, of a first coefficient, or else how many coefficients on the code leads. There are entries by the
# first LOOKAHEAD bits, 0 for a longer code; then, by length of a code, the first 16 bits that are no code of that
# length or a shorter one, and what is added to a code for the place of its symbol; then the entries of all symbols.
LIMITS = 1 << LOOKAHEAD
OFFSETS = LIMITS + 18
SYMBOLS = OFFSETS + 18
TABLE = SYMBOLS + 256

SIZES = LARGEST_DC + 1  # of values: there is a code for each


def find_first_codes(
    stream: np.ndarray, units: int, interval: int, blocks: Sequence[int], tables: Sequence[tuple[bytes, bytes]]
) -> np.ndarray | None:
    """Where the codes stand that change.

    Args:
        units, interval: how many units there are, and are to be between two markers.
        blocks: of each component in a unit.
        tables: of each component, the definitions for its first and for its other coefficients.

    Returns:
        (pieces + 1, components, 3) int64, see BEGIN, by pieces between markers; in the last row, BEGIN of the first
        component is where the data ends. None where the data is damaged.
    """
    made = [_make_table(pair[is_ac], bool(is_ac)) for pair in tables for is_ac in (0, 1)]
    entries = [table for table in made if table is not None]
    if len(entries) < len(made):
        return None
    places = np.zeros((-(-units // interval) + 1, len(blocks), 3), np.int64)
    end = _find(stream, units, interval, np.array(blocks), np.concatenate(entries), places)
    places[-1, 0, BEGIN] = end
    return places if end >= 0 and 0 <= 8 * (len(stream) - ROOM) - end < 8 else None


def _find_codes(stream, units, interval, blocks, entries, before, places):
    """Fill in `places`, flat; the others as for find_first_codes, two tables of each component one after the other.

    Args:
        before: of each component, 0.

    Returns:
        Where the data ends; -1 if it is damaged.
    """
    last = 8 * (len(stream) - ROOM)
    count = len(blocks)
    at = 0
    for unit in range(units):
        for c in range(count):
            for block in range(blocks[c]):
                table, k, begin = 2 * c * TABLE, 0, at
                while k < BLOCK_END:
                    byte = at >> 3
                    word = stream[byte] << 16 | stream[byte + 1] << 8 | stream[byte + 2]
                    code = word >> (8 - (at & 7)) & 0xFFFF
                    entry = entries[table + (code >> (16 - LOOKAHEAD))]
                    if entry == 0:
                        length = LOOKAHEAD + 1
                        while code >= entries[table + LIMITS + length]:
                            length += 1
                        if length > 16:
                            return -1
                        entry = entries[table + SYMBOLS + (code >> (16 - length)) + entries[table + OFFSETS + length]]
                    at += entry & 255
                    if k > 0:
                        k += entry >> 8
                        continue
                    size = entry >> 8
                    if size > 0:
                        byte = (at - size) >> 3
                        word = stream[byte] << 16 | stream[byte + 1] << 8 | stream[byte + 2]
                        value = (word >> (24 - size - (at - size & 7))) & ((1 << size) - 1)
                        before[c] += value if value >> (size - 1) else value - (1 << size) + 1
                    if unit % interval == 0 and block == 0:
                        place = 3 * (unit // interval * count + c)
                        places[place], places[place + 1], places[place + 2] = begin, at, before[c]
                    table, k = table + TABLE, 1
                if BLOCK_END < k < SKIP_ALL or at > last:
                    return -1
    return at


def sizes_of(values: np.ndarray) -> set[int]:
    """How many bits these coefficients have."""
    return {int(value).bit_length() for value in np.unique(np.abs(values))}


def with_codes_for(definition: bytes, sizes: set[int]) -> bytes | None:
    """The definition of a table of first coefficients that has codes for values of these sizes, too. The new ones are
    the longest, and the others stay as they are. None where there is no room for them."""
    missing = sorted(sizes - set(definition[16:]))
    if not missing:
        return definition
    counts = list(definition[:16])
    longest = max(length for length in range(1, 17) if counts[length - 1])
    free = (1 << longest) - sum(number << (longest - length) for length, number in enumerate(counts[:longest], 1))
    for length in range(longest, 17):
        if free << (length - longest) > len(missing):  # one is left: a code is not all ones
            counts[length - 1] += len(missing)
            return bytes(counts) + definition[16:] + bytes(missing)
    return None


def write_codes(stream: np.ndarray, places: np.ndarray, definitions: Sequence[bytes]) -> bytes:
    """Compressed data as it stands in a file, with restart markers.

    Args:
        places: see find_first_codes.
        definitions: of each component, the table of its first coefficients.
    """
    codes = np.array([numbers for definition in definitions for numbers in _codes(definition)], np.int64)
    out = np.empty(2 * len(stream) + 32 * places.size, np.uint8)
    return out[: _write(stream, places, codes, out)].tobytes()


def _write_codes(stream, pieces, count, places, codes, out):
    """See write_codes; all arrays are flat, and out is filled in. Returns how many bytes there are."""
    size = 0
    for piece in range(pieces):
        buffer = bits = 0
        for c in range(count):
            place = 3 * (piece * count + c)
            value = places[place + VALUE]
            length, rest = 0, abs(value)
            while rest > 0:
                length, rest = length + 1, rest >> 1
            code = 2 * (SIZES * c + length)
            buffer = (buffer << codes[code + 1] | codes[code]) << length
            buffer |= value if value >= 0 else value + (1 << length) - 1
            bits += codes[code + 1] + length
            at, end = places[place + BEHIND], places[place + 3 + BEGIN]
            while True:
                while bits >= 8:
                    bits -= 8
                    byte = buffer >> bits & 255
                    out[size] = byte
                    size += 1
                    if byte == 255:
                        out[size] = 0
                        size += 1
                buffer &= (1 << bits) - 1
                if at >= end:
                    break
                taken = min(end - at, 16)
                byte = at >> 3
                word = stream[byte] << 16 | stream[byte + 1] << 8 | stream[byte + 2]
                buffer = buffer << taken | (word >> (24 - taken - (at & 7)) & ((1 << taken) - 1))
                bits, at = bits + taken, at + taken
        if bits > 0:  # ones fill up the last byte
            byte = buffer << (8 - bits) | ((1 << (8 - bits)) - 1)
            out[size] = byte
            size += 1
            if byte == 255:
                out[size] = 0
                size += 1
        if piece < pieces - 1:
            out[size], out[size + 1] = 0xFF, RST0 + piece % 8
            size += 2
    return size


@lru_cache(64)
def _codes(definition: bytes) -> list[tuple[int, int]]:
    """(code, its bits) of each size of a value; (0, 0) where there is none."""
    found = dict.fromkeys(range(SIZES), (0, 0))
    code = place = 0
    for length in range(1, 17):
        for _ in range(definition[length - 1]):
            found[definition[16 + place]] = code, length
            code, place = code + 1, place + 1
        code <<= 1
    return list(found.values())


@lru_cache(64)
def _make_table(definition: bytes, is_ac: bool) -> np.ndarray | None:
    """(TABLE,) int64, see LIMITS; None where it makes no sense in baseline JPEG."""
    table = np.zeros(TABLE, np.int64)
    code = place = 0
    for length in range(1, 17):
        table[OFFSETS + length] = place - code
        for _ in range(definition[length - 1]):
            symbol = definition[16 + place]
            run, size = symbol >> 4, symbol & 15
            if size > (LARGEST_AC if is_ac else LARGEST_DC) or (run > 0 and not is_ac) or code >= 1 << length:
                return None
            step = (run + 1 if size or run == 15 else SKIP_ALL) if is_ac else size
            table[SYMBOLS + place] = step << 8 | (length + size)
            if length <= LOOKAHEAD:
                spare = LOOKAHEAD - length
                table[code << spare : (code + 1) << spare] = table[SYMBOLS + place]
            code, place = code + 1, place + 1
        table[LIMITS + length] = code << (16 - length)
        code <<= 1
    table[LIMITS + 17] = 1 << 16
    return table


def _find_plainly(stream, units, interval, blocks, entries, places):
    """On lists, which are faster than arrays in Python itself."""
    flat = places.reshape(-1).tolist()
    end = _find_codes(stream.tobytes(), units, interval, blocks.tolist(), entries.tolist(), [0] * len(blocks), flat)
    places.reshape(-1)[:] = flat
    return end


def _find_by_kernel(stream, units, interval, blocks, entries, places):
    before = np.zeros(len(blocks), np.int64)
    return _find_kernel(stream, units, interval, blocks, entries, before, places.reshape(-1))


def _write_plainly(stream, places, codes, out):
    pieces, count = len(places) - 1, places.shape[1]
    return _write_codes(stream.tobytes(), pieces, count, places.reshape(-1).tolist(), codes.reshape(-1).tolist(), out)


def _write_by_kernel(stream, places, codes, out):
    return _write_kernel(stream, len(places) - 1, places.shape[1], places.reshape(-1), codes.reshape(-1), out)


_find_kernel, _write_kernel = kernel(_find_codes), kernel(_write_codes)
_find = either(lambda: _find_by_kernel, _find_plainly)
_write = either(lambda: _write_by_kernel, _write_plainly)
