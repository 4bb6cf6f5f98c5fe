"""Checking every sample of a beton, with memory for a few of them; which are bad, and what they were made from."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from formwork.beton.beton import Beton
from formwork.beton.faults import how_to_mend, unreadable
from formwork.beton.format import RAW
from formwork.conversion.passthrough import plain_size
from formwork.errors import BetonError
from formwork.escapes import printable
from formwork.images.pixels import read_rgb
from formwork.kernels import libjpeg
from formwork.parallel import in_order
from formwork.progress import progress
from formwork.tools.inspect.contents import Contents

BLOCK = 64  # samples that a thread checks in one go


class SampleFile:
    """The samples of an open beton, read one at a time; threads may share it.

    Args:
        descriptor: of its file; None: each of its files is opened when it is read from.
    """

    def __init__(self, beton: Beton, descriptor: int | None):
        self.beton = beton
        self.descriptor = descriptor

    def read(self, sample: int) -> bytes:
        """A sample's bytes; fewer of them where the file has been cut short since it was opened."""
        return self._read(sample, int(self.beton.sizes[sample]), int(self.beton.offsets[sample]))

    def _read(self, sample: int, size: int, position: int) -> bytes:
        """Of the file that holds a sample."""
        if self.descriptor is not None:
            return os.pread(self.descriptor, size, position)
        with self.beton.path_of(sample).open("rb", buffering=0) as file:
            return os.pread(file.fileno(), size, position)

    def pixels(self, sample: int) -> np.ndarray | None:
        """(H, W, 3) uint8; None where the sample is damaged."""
        data = self.read(sample)
        return None if self.fault(data, sample) else self.decode(data, sample)

    def fault(self, data: bytes, sample: int) -> str | None:
        """What is wrong with a sample's bytes; None where they are as they were written, or, in a beton without
        checksums, where a decoder has nothing to complain of."""
        beton = self.beton
        if len(data) != beton.sizes[sample]:
            return "the file ends within it"
        if beton.stored_checksums is not None and not beton.is_intact(sample, data):
            return "it does not have the checksum that it was written with"
        if beton.modes[sample] == RAW:
            return None  # open_beton has compared its size with its pixels
        if plain_size(data) != (beton.widths[sample], beton.heights[sample]):
            return "its JPEG data is damaged, or of another size"
        return "its JPEG data is damaged" if self.decode(data, sample) is None else None

    def fault_behind(self, sample: int) -> str | None:
        """What is wrong with the zeros that fill up the page behind a sample."""
        behind = int(self.beton.offsets[sample] + self.beton.sizes[sample])
        padding = self._read(sample, int(self.beton.padding[sample]), behind)
        return "there is something behind it, where nothing should be" if any(padding) else None

    def decode(self, data: bytes, sample: int) -> np.ndarray | None:
        """(H, W, 3) uint8 of a sample's bytes; None where they cannot be decoded."""
        width, height = int(self.beton.widths[sample]), int(self.beton.heights[sample])
        if self.beton.modes[sample] == RAW:
            return np.frombuffer(data, np.uint8).reshape(height, width, 3)
        pixels = libjpeg.decode(data, width, height)
        # What libturbojpeg warns of in bytes that have their checksum stood in the original file, too.
        if pixels is None and (self.beton.provenance or libjpeg.strict_decoder() is None):
            with suppress(OSError):
                pixels = np.array(read_rgb(data))
        return pixels


@contextmanager
def open_samples(beton: Beton) -> Iterator[SampleFile]:
    """Raises BetonError: the file can no longer be read."""
    try:
        if len(beton.files) > 1:
            yield SampleFile(beton, None)
            return
        descriptor = os.open(beton.files[0].path, os.O_RDONLY)
        try:
            yield SampleFile(beton, descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise unreadable(Path(error.filename or beton.path), error) from error


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
        progress(total=len(order), name=f"verify {beton.path.name}", unit="images") as bar,
        ThreadPoolExecutor(workers) as pool,
    ):

        def check(block: list[int]) -> dict[int, str | None]:
            return {
                sample: samples.fault(samples.read(sample), sample) or samples.fault_behind(sample) for sample in block
            }

        try:
            for _, faults in in_order(pool, check, blocks, ahead=2 * workers):
                found |= {sample: fault for sample, fault in faults.items() if fault}
                bar.update(len(faults))
        finally:
            pool.shutdown(cancel_futures=True)
    return dict(sorted(found.items()))


def verify(beton: Beton, contents: Contents, workers: int) -> str:
    """Check every sample; print sample id and, where they are known, class and source of each bad one.

    Returns:
        A line that says that all are whole.

    Raises:
        BetonError: any sample is bad.
    """
    damage = find_damage(beton, workers)
    files = dict.fromkeys(map(beton.path_of, damage))
    for sample, fault in damage.items():
        known = ", ".join(filter(None, (contents.name(sample), contents.source(sample))))
        within = f" in {printable(beton.path_of(sample).name)}" if len(beton.files) > 1 else ""
        print(f"sample {sample}{within}{f' ({known})' if known else ''}: {fault}")
    if damage:
        raise BetonError(f"{len(damage)} of {len(beton)} samples of {beton.path} are damaged. {how_to_mend(*files)}")
    found = "have the checksums they were written with, and decode" if beton.provenance else "decode without a warning"
    return f"All {len(beton)} samples of {beton.path} {found}."
