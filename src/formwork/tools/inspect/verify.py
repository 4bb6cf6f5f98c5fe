"""Checking every sample of a beton, with memory for a few of them."""

import io
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import numpy as np
from tqdm import tqdm

from formwork.beton.format import RAW
from formwork.beton.read import Beton
from formwork.conversion.passthrough import plain_size
from formwork.errors import BetonError
from formwork.images.pixels import read_rgb
from formwork.kernels import libjpeg

BLOCK = 64  # samples that a thread checks in one go


class SampleFile:
    """The samples of an open beton, read one at a time; threads may share it."""

    def __init__(self, beton: Beton, descriptor: int):
        self.beton = beton
        self.descriptor = descriptor

    def read(self, sample: int) -> bytes:
        """A sample's bytes; fewer of them where the file has been cut short since it was opened."""
        return os.pread(self.descriptor, int(self.beton.sizes[sample]), int(self.beton.offsets[sample]))

    def pixels(self, sample: int) -> np.ndarray | None:
        """(H, W, 3) uint8; None where the sample is damaged."""
        data = self.read(sample)
        return None if self.fault(data, sample) else self._decode(data, sample)

    def fault(self, data: bytes, sample: int) -> str | None:
        """What is wrong with a sample's bytes; None where they are as they were written, or, in a beton without
        checksums, where a decoder has nothing to complain of."""
        beton = self.beton
        if len(data) != beton.sizes[sample]:
            return "the file ends within it"
        if beton.provenance and not beton.provenance.is_intact(sample, data):
            return "it does not have the checksum that it was written with"
        if beton.modes[sample] == RAW:
            return None  # open_beton has compared its size with its pixels
        if plain_size(data) != (beton.widths[sample], beton.heights[sample]):
            return "its JPEG data is damaged, or of another size"
        return "its JPEG data is damaged" if self._decode(data, sample) is None else None

    def _decode(self, data: bytes, sample: int) -> np.ndarray | None:
        width, height = int(self.beton.widths[sample]), int(self.beton.heights[sample])
        if self.beton.modes[sample] == RAW:
            return np.frombuffer(data, np.uint8).reshape(height, width, 3)
        pixels = libjpeg.decode(data, width, height)
        # What libturbojpeg warns of in bytes that have their checksum stood in the original file, too.
        if pixels is None and (self.beton.provenance or libjpeg.strict_decoder() is None):
            with suppress(OSError):
                pixels = np.array(read_rgb(io.BytesIO(data)))
        return pixels


@contextmanager
def open_samples(beton: Beton) -> Iterator[SampleFile]:
    """Raises BetonError: the file can no longer be read."""
    try:
        descriptor = os.open(beton.path, os.O_RDONLY)
        try:
            yield SampleFile(beton, descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise BetonError(f"{beton.path} cannot be read: {error.strerror}.") from error


def find_damage(beton: Beton, workers: int) -> dict[int, str]:
    """Read and decode every sample, on threads, in the order in which they lie in the file.

    Returns:
        What is wrong, by sample id, for each sample that is not as it was written.
    """
    order = beton.storage_order
    blocks = [order[start : start + BLOCK].tolist() for start in range(0, len(order), BLOCK)]
    found: dict[int, str] = {}
    with (
        open_samples(beton) as samples,
        tqdm(total=len(order), desc=f"verify {beton.path.name}", unit=" images", mininterval=0.5) as bar,
        ThreadPoolExecutor(workers) as pool,
    ):

        def check(block: list[int]) -> dict[int, str | None]:
            return {sample: samples.fault(samples.read(sample), sample) for sample in block}

        try:
            for faults in pool.map(check, blocks):
                found |= {sample: fault for sample, fault in faults.items() if fault}
                bar.update(len(faults))
        finally:
            pool.shutdown(cancel_futures=True)
    return dict(sorted(found.items()))
