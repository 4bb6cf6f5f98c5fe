"""Which JPEG files can stand in a beton as they are, without being decoded and encoded again."""

import re
import struct

from formwork.images.bare import bare
from formwork.images.orientation import UPRIGHT, orientation
from formwork.kernels.jpeg.segments import APP1, EOI, HUFFMAN_FRAMES, OTHER_FRAMES, SOS, segments

SCAN, END, EXIF_OR_XMP = bytes((0xFF, SOS)), bytes((0xFF, EOI)), bytes((0xFF, APP1))
MARKER = re.compile(rb"\xff+[^\xff\0\xd0-\xd7]", re.DOTALL)
"""In compressed data: neither a stuffed zero nor a restart marker follows."""

PLAIN_SAMPLING = {  # of the first component, horizontally and vertically; the other two then have (1, 1)
    (1, 1): "4:4:4",
    (2, 1): "4:2:2",
    (2, 2): "4:2:0",
    (1, 2): "4:4:0",
    (4, 1): "4:1:1",
}


def plain_size(content: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG that every decoder turns into the same upright 8-bit RGB image; None for any other.

    Such a file has 3 components of 8 bits, is Huffman-coded, has one of the usual chroma subsamplings, and its
    metadata does not turn or mirror it. Only the header is read.
    """
    frame, oriented = _header(content)
    if frame is None or len(frame) != 15:  # 6 bytes, and 3 for each of 3 components
        return None
    precision, height, width, components = struct.unpack(">BHHB", frame[:6])
    sampling = [(byte >> 4, byte & 15) for byte in frame[7::3]]
    if precision != 8 or components != 3 or width == 0 or height == 0:
        return None
    if sampling[0] not in PLAIN_SAMPLING or sampling[1:] != [(1, 1), (1, 1)]:
        return None
    if oriented and not _upright(content):
        return None
    return width, height


def without_appendix(content: bytes) -> bytes:
    """A JPEG up to its end, without what phones and programs append: other pictures, films, archives, text, zeros.

    `content` itself where nothing is appended, or where no end is found.
    """
    if content.find(END) == len(content) - len(END):  # neither compressed data nor, mostly, metadata has such bytes
        return content
    at = next((stop for marker, _, stop in segments(content) if marker == SOS), len(content))
    while match := MARKER.search(content, at):
        at = match.end()
        if content[at - 1] == EOI:
            return content[:at]
        at += int.from_bytes(content[at : at + 2], "big")  # a segment between two scans
    return content


def _header(content: bytes) -> tuple[bytes | None, bool]:
    """The content of the frame header (None where there is none of a known kind), and whether anything before it may
    hold an orientation."""
    oriented = False
    for marker, start, stop in segments(content):
        if marker in OTHER_FRAMES:
            break
        if marker in HUFFMAN_FRAMES:
            # Metadata may also stand between the frame and the scan.
            oriented = oriented or EXIF_OR_XMP in content[start : content.find(SCAN, start)]
            return content[start:stop], oriented
        oriented = oriented or marker == APP1
    return None, oriented


def _upright(content: bytes) -> bool:
    """Whether the image is shown as it lies in the file."""
    found = bare(content)
    return found is not None and orientation(found.info) not in UPRIGHT
