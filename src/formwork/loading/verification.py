"""Which samples are compared with the checksums that they were written with, and when: ffcv.verify."""

from typing import NamedTuple

import numpy as np

from formwork.beton.beton import Beton


class Checks(NamedTuple):
    """Of a batch of B samples, and their checksums.

    Attributes:
        wanted: (B,) bool, whether a sample is to be compared with its checksum.
        checksums: (B,) uint64.
        padding: (B,) int64, how many bytes behind a sample must be zeros; they fill up pages, and have no checksum.
        trusted: each sample was compared before, or is now. Only then is a part of a JPEG decoded without reading the
            rest, in which damage would go unnoticed.
    """

    wanted: np.ndarray
    checksums: np.ndarray
    padding: np.ndarray
    trusted: bool


NO_CHECKS = Checks(np.zeros(1, bool), np.zeros(1, np.uint64), np.zeros(1, np.int64), trusted=False)
"""Of a batch of one sample."""


class Verification:
    """Which samples of a beton of N are still to be compared with their checksums; threads share it.

    Args:
        when: "first": each sample when it is first read; "always": whenever it is read; "never". A beton without
            checksums, of FFCV's own writer for one, is read as it is.

    Attributes:
        pending: (N,) bool.
    """

    def __init__(self, beton: Beton, when: str):
        known = beton.checksums if when != "never" else None
        self.pending = np.full(len(beton), known is not None)
        self.checksums = np.zeros(len(beton), np.uint64) if known is None else known
        self.padding = beton.padding
        self.once = when == "first"
        self.trusted = known is not None

    def of(self, ids: np.ndarray) -> Checks:
        wanted = self.pending[ids]
        return Checks(wanted, self.checksums[ids], wanted * self.padding[ids], self.trusted)

    def passed(self, ids: np.ndarray) -> None:
        """These samples were compared, and are as they were written."""
        if self.once:
            self.pending[ids] = False
