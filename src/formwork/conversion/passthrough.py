"""Which JPEG files can stand in a beton as they are, without being decoded and encoded again.

The markers are those of ITU-T T.81, table B.1.
"""

import io
import struct

from PIL import ExifTags, Image

START, SCAN, EXIF_OR_XMP = 0xD8, 0xDA, 0xE1
HUFFMAN_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive
OTHER_FRAMES = (0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)  # lossless, hierarchical, arithmetic

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


def _header(content: bytes) -> tuple[bytes | None, bool]:
    """The body of the frame header (None where there is none of a known kind), and whether anything before it may
    hold an orientation."""
    oriented = False
    position = 2
    if content[:2] != bytes((0xFF, START)):
        return None, oriented
    while position + 4 <= len(content) and content[position] == 0xFF:
        marker = content[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        if marker in OTHER_FRAMES or marker == SCAN:
            return None, oriented
        (length,) = struct.unpack_from(">H", content, position + 2)
        if marker in HUFFMAN_FRAMES:
            # Metadata may also stand between the frame and the scan.
            oriented = oriented or bytes((0xFF, EXIF_OR_XMP)) in content[position : content.find(b"\xff\xda", position)]
            return content[position + 4 : position + 2 + length], oriented
        oriented = oriented or marker == EXIF_OR_XMP
        position += 2 + length
    return None, oriented


def _upright(content: bytes) -> bool:
    """Whether Pillow, which reads the originals, leaves the image as it lies in the file."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            return image.getexif().get(ExifTags.Base.Orientation, 1) not in range(2, 9)
    except Exception:  # whatever Pillow's parsers raise: then the image is encoded anew
        return False
