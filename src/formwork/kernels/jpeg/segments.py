"""The segments that a JPEG file begins with, up to its compressed data (ITU-T T.81, annex B)."""

from collections.abc import Iterator

from formwork.kernels.compile import inner_kernel

SOI, EOI, SOS, DQT, DHT, DRI, RST0 = 0xD8, 0xD9, 0xDA, 0xDB, 0xC4, 0xDD, 0xD0
SOF0 = 0xC0
HUFFMAN_FRAMES = (SOF0, 0xC1, 0xC2)  # baseline, extended, progressive
OTHER_FRAMES = (0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)  # lossless, hierarchical, arithmetic
APP0, APP1, APP14, COM = 0xE0, 0xE1, 0xEE, 0xFE


def segment(data, at):
    """The segment at a place, in Python: `compiled_segment` is the same in a kernel.

    Args:
        data: bytes, or (bytes,) uint8.

    Returns:
        Its marker, and its content data[start:stop]; behind `stop` is the next one. Marker 0: there is none, or it
        reaches beyond the end.
    """
    size = len(data)
    while at + 4 <= size and data[at] == 0xFF and data[at + 1] == 0xFF:  # a fill byte
        at += 1
    if at + 4 > size or data[at] != 0xFF:
        return 0, at, at
    length = 256 * data[at + 2] + data[at + 3]
    stop = at + 2 + length
    if length < 2 or stop > size:
        return 0, at, at
    return 1 * data[at + 1], at + 4, stop  # times 1: an int64 in a kernel, too


compiled_segment = inner_kernel(segment)


def segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start, stop) of each segment of a file, to the first start of a scan, or to the first damage."""
    marker, at = 0, 2
    while content[:2] == bytes((0xFF, SOI)) and marker != SOS:
        marker, start, at = segment(content, at)
        if not marker:
            return
        yield marker, start, at
