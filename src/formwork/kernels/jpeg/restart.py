"""Restart markers: where a decoder can begin in the middle of a JPEG's compressed data (ITU-T T.81, annex E.1.4)."""

from formwork.kernels.jpeg.headers import BLOCK

PARTS = 4  # of a row of units, between two markers
LEAST = 4  # units: in small images, more markers would cost more bytes than they save time


def restart_interval(width: int, height: int, across: int, down: int) -> int:
    """How many units there are to be between two restart markers of an image; 0: it has so few that none is of use.

    Args:
        width, height: pixels.
        across, down: blocks of luma in a unit.
    """
    columns, rows = -(-width // (BLOCK * across)), -(-height // (BLOCK * down))
    interval = max(-(-columns // PARTS), LEAST)
    return interval if interval < columns * rows else 0
