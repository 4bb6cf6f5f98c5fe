"""Settings tried on a sample: betons are written, compared with the originals, and loaded."""

import hashlib
import io
import shutil
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path

from formwork.beton.beton import Beton
from formwork.beton.read import open_beton
from formwork.conversion.write import write_beton
from formwork.errors import FormworkError
from formwork.images.manifest import Manifest
from formwork.images.row import Row
from formwork.loading.base import LoaderConfig, SplitFiles
from formwork.loading.project import ProjectData
from formwork.params import BetonParams
from formwork.progress import progress
from formwork.system import cores, memory
from formwork.text import format_bytes
from formwork.tools.tune import speed
from formwork.tools.tune.fidelity import compare, originals, view
from formwork.tools.tune.grid import changes
from formwork.tools.tune.pick import Loading, Measured, Stored
from formwork.tools.tune.sample import Images, extrapolate

BATCHES = 4  # that an epoch of the sample has at least: otherwise it would be all start and end
FITTING = 0.7  # share of the memory that betons may take to stay in the page cache
ORDERS = ("quasi_random", "random")


class Trial:
    """A sample, and what is measured on it.

    Args:
        manifest: of the sample; betons are written beside it.
        rows: of the whole dataset.
        rounds: measurements of each speed.

    Attributes:
        config: of the loader that is measured, where betons stay in memory.
    """

    def __init__(self, data: ProjectData, manifest: Manifest, rows: Sequence[Row], rounds: int):
        self.data = data
        self.manifest = manifest
        self.sampled, self.images = Images(manifest.rows), Images(rows)
        self.rounds = rounds
        self.raw = data.splits["train"].raw
        self.memory, _ = memory()
        self.config: LoaderConfig = replace(
            data.config("train", rank=0, world_size=1),
            batch_size=min(data.params.data.batch_size, max(len(manifest) // BATCHES, 1)),
            num_workers=cores(),
            os_cache=True,
            timesteps=1,  # more of them take no time
            resolution_schedule=(),
        )

    def store(self, settings: Sequence[BetonParams]) -> list[Measured]:
        """Try ways of storing. Those that store the same bytes for each image are one, named by what differs least from
        params.yaml.

        Returns:
            From the smallest to the largest.

        Raises:
            FormworkError: an original is missing or changed; the disk is full; FFCVDataLoader cannot be had.
        """
        augmentation = view(self.data.views["val"].augmentations[0])
        original = originals(self.manifest, self.raw, augmentation, cores())
        found: dict[bytes, Stored] = {}
        for number, params in enumerate(progress(settings, name="store", unit="settings")):
            beton, shares = self._write(params, number)
            content = _content(beton)
            if content in found:
                found[content].params.append(params)
                beton.path.unlink()
                continue
            if not found:
                speed.open_loader(self._split(beton.path), self.config)  # what would stop the last one stops the first
            size = extrapolate(beton, self.sampled, self.images, params.max_resolution, len(self.data.splits))
            stored = speed.load(
                self._split(beton.path), replace(self.config, augmentation=augmentation, other_views=())
            )
            found[content] = Stored(
                params=[params],
                longest=int(self.images.sides.max()),
                beton=beton.path,
                shares=shares,
                size=size,
                fits=size.most <= FITTING * self.memory,
                fidelity=compare(stored, original),
            )
        contenders = {
            content: (self._split(one.beton), replace(self.config, os_cache=one.fits)) for content, one in found.items()
        }
        rates = speed.measure(contenders, self.rounds, "load")
        measured = [Measured(**vars(one), rates=rates[content]) for content, one in found.items()]
        for one in measured:
            one.params.sort(key=lambda params: len(changes(params, self.data.params.ffcv.beton)))
        return sorted(measured, key=lambda one: one.size.estimate)

    def load(self, picked: Measured) -> Loading:
        """Try other settings of the loader with one way of storing."""
        split, config = self._split(picked.beton), replace(self.config, os_cache=picked.fits)
        numbers = {2**power for power in range(cores().bit_length())}
        numbers |= {cores(), max(self.data.params.data.num_workers, 1)}
        by_workers = {number: (split, replace(config, num_workers=number)) for number in sorted(numbers)}
        orders = [] if picked.fits else [config.order]
        if orders and config.order in ORDERS:  # sequential is there for a reason that is not speed
            orders = list(dict.fromkeys([config.order, *ORDERS]))
        by_order = {order: (split, replace(config, order=order)) for order in orders}
        rates = speed.measure(by_workers | by_order, self.rounds, "loader settings")
        return Loading(
            workers={number: rates[number] for number in by_workers},
            orders={order: rates[order] for order in by_order},
            memory=self.memory,
        )

    def _split(self, beton: Path) -> SplitFiles:
        return SplitFiles("train", self.manifest, beton, self.raw)

    def _write(self, params: BetonParams, number: int) -> tuple[Beton, dict[str, float]]:
        path = self.manifest.path.with_name(f"{number}.beton")
        most, free = self.sampled.raw_bytes(params.max_resolution).sum(), shutil.disk_usage(path.parent).free
        if free < most:
            raise FormworkError(
                f"The disk of {path.parent} has {format_bytes(free)} free, and a beton of the sample may take "
                f"{format_bytes(most)}. Make room, or take fewer images with --images."
            )
        with redirect_stderr(io.StringIO()):  # without a progress bar for each
            one_file = params.model_copy(update={"part_mb": None})  # what can be read from parts is the same
            summary = write_beton(self.manifest, self.raw, path, one_file, cores())
        metrics = summary.metrics()
        return open_beton(path), {name: metrics[f"{name}_share"] for name in ("jpg", "raw", "passed_through")}


def _content(beton: Beton) -> bytes:
    """What tells apart betons of the same images: all but the params that they were written with."""
    assert beton.stored_checksums is not None  # write_beton wrote it
    parts = (beton.modes, beton.widths, beton.heights, beton.stored_checksums)
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).digest()
