"""Restart markers: where a decoder can begin in the middle of a JPEG's compressed data (ITU-T T.81, annex E.1.4).

They are put into a file without loss. The first coefficient of a block is stored as its difference from that of the
block before, and behind a marker as it is: all other codes stay.
"""

from typing import NamedTuple

import numpy as np

from formwork.kernels.jpeg.first_codes import (
    ROOM,
    VALUE,
    find_first_codes,
    sizes_of,
    with_codes_for,
    write_codes,
)
from formwork.kernels.jpeg.headers import BLOCK, WHOLE_SCAN
from formwork.kernels.jpeg.segments import DHT, DRI, EOI, SOF0, SOS, segments

PARTS = 4  # of a row of units, between two markers
LEAST = 4  # units: in small images, more markers would cost more bytes than they save time
SAMPLINGS = ([(1, 1)], [(1, 1)] * 3, [(2, 1), (1, 1), (1, 1)], [(2, 2), (1, 1), (1, 1)])
"""Blocks of each component in a unit, across and down: grey, 4:4:4, 4:2:2 and 4:2:0, which kernels decode."""


def restart_interval(width: int, height: int, across: int, down: int) -> int:
    """How many units there are to be between two restart markers of an image; 0: it has so few that none is of use.

    Args:
        width, height: pixels.
        across, down: blocks of luma in a unit.
    """
    columns, rows = _units(width, height, across, down)
    interval = max(-(-columns // PARTS), LEAST)
    return interval if interval < columns * rows else 0


def _units(width: int, height: int, across: int, down: int) -> tuple[int, int]:
    return -(-width // (BLOCK * across)), -(-height // (BLOCK * down))


def with_restart_markers(content: bytes) -> bytes:
    """A JPEG file with restart markers, and with the same coefficients.

    `content` itself where it has such markers, is too small for any, damaged, or of a kind that kernels do not decode.
    """
    header = _read_header(content)
    if header is None:
        return content
    interval = restart_interval(header.width, header.height, *header.sampling[0])
    end = content.find(bytes((0xFF, EOI)), header.start)
    if not interval or end < 0:
        return content
    scan = np.frombuffer(content, np.uint8)[header.start : end + 1]
    stuffed = np.flatnonzero(scan[:-1] == 0xFF) + 1
    if scan[stuffed].any():  # a marker
        return content
    stream = np.append(np.delete(scan[:-1], stuffed), np.zeros(ROOM, np.uint8))
    columns, rows = _units(header.width, header.height, *header.sampling[0])
    known = {table: content[start:stop] for table, (_, start, stop) in header.definitions.items()}
    written = _rewrite(stream, header, known, columns * rows, interval)
    if written is None:
        return content
    data, definitions = written
    changed = bytearray(content[: header.scan])
    changes = [(header.definitions[table], new) for table, new in definitions.items()]
    for (segment, start, stop), new in sorted(changes, reverse=True):
        longer = int.from_bytes(changed[segment : segment + 2], "big") + len(new) - (stop - start)
        changed[start:stop] = new
        changed[segment : segment + 2] = longer.to_bytes(2, "big")
    changed += bytes((0xFF, DRI, 0, 4)) + interval.to_bytes(2, "big")
    return b"".join((changed, content[header.scan : header.start], data, content[end:]))


class _Header(NamedTuple):
    """What must be known of a file.

    Attributes:
        sampling: blocks of each component in a unit, across and down.
        tables: of each component, its tables of first and of other coefficients: 0 or 1, and 2 or 3.
        definitions: of each table, where the length of its segment stands, and where its definition starts and stops.
        scan, start: where the header of the scan stands, and the compressed data.
    """

    width: int
    height: int
    sampling: list[tuple[int, int]]
    tables: list[tuple[int, int]]
    definitions: dict[int, tuple[int, int, int]]
    scan: int
    start: int


def _read_header(content: bytes) -> _Header | None:
    """None of a file that stays as it is."""
    definitions: dict[int, tuple[int, int, int]] = {}
    frame = b""
    for marker, start, stop in segments(content):
        body = content[start:stop]
        if marker == SOF0:
            if frame or len(body) not in (9, 15) or body[0] != 8 or len(body) != 6 + 3 * body[5]:
                return None
            frame = body
        elif marker == DHT:
            at = start
            while at < stop:
                number, symbols = content[at], sum(content[at + 1 : at + 17])
                if number not in (0x00, 0x01, 0x10, 0x11) or at + 17 + symbols > stop:
                    return None
                definitions[2 * (number >> 4) + (number & 1)] = (start - 2, at + 1, at + 17 + symbols)
                at += 17 + symbols
        elif marker == DRI:
            if any(body):
                return None
        elif marker == SOS:
            count = len(frame) // 3 - 2
            if not frame or len(body) != 4 + 2 * count or body[0] != count or body[-3:] != bytes(WHOLE_SCAN):
                return None
            if body[1:-3:2] != frame[6::3]:
                return None
            tables = [(pair >> 4, 2 + (pair & 15)) for pair in body[2:-3:2]]
            if not {table for pair in tables for table in pair} <= definitions.keys():
                return None
            sampling = [(byte >> 4, byte & 15) for byte in frame[7::3]] if count > 1 else SAMPLINGS[0]
            height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
            if sampling not in SAMPLINGS or not height or not width:
                return None
            return _Header(width, height, sampling, tables, definitions, start - 4, stop)
        elif 0xC0 < marker < 0xD0:  # another kind of frame, or arithmetic coding
            return None
    return None


def _rewrite(
    stream: np.ndarray, header: _Header, known: dict[int, bytes], units: int, interval: int
) -> tuple[bytes, dict[int, bytes]] | None:
    """Compressed data with markers, and the definitions of tables that need more codes than they have.

    Args:
        stream: compressed data, see formwork.kernels.jpeg.first_codes.
        known: the definition of each table.

    Returns:
        None where the data is damaged, or a table has no room for a code.
    """
    blocks = [across * down for across, down in header.sampling]
    places = find_first_codes(stream, units, interval, blocks, [(known[dc], known[ac]) for dc, ac in header.tables])
    if places is None:
        return None
    sizes: dict[int, set[int]] = {}
    for c, (dc, _) in enumerate(header.tables):
        sizes.setdefault(dc, set()).update(sizes_of(places[:-1, c, VALUE]))
    longer = {dc: with_codes_for(known[dc], wanted) for dc, wanted in sizes.items()}
    definitions = {dc: definition for dc, definition in longer.items() if definition is not None}
    if len(definitions) < len(longer):
        return None
    return write_codes(stream, places, [definitions[dc] for dc, _ in header.tables]), definitions
