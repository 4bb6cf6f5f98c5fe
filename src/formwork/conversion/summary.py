"""What a conversion has stored."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from formwork.beton.beton import Beton
from formwork.beton.format import MODE_NAMES
from formwork.earlier_parts import WORTH_REPACKING
from formwork.images.manifest import Manifest


@dataclass
class Summary:
    """Result of a conversion: images by storage mode, images stored as they were, bytes of the original files and of
    the beton, seconds; and of a folder, how many parts it has, how many of them were written, and bytes of samples that
    no image needs any more."""

    modes: Counter[str] = field(default_factory=Counter)
    passed_through: int = 0
    source_bytes: int = 0
    beton_bytes: int = 0
    seconds: float = 0.0
    parts: int = 0
    written_parts: int = 0
    dead_bytes: int = 0

    @property
    def images(self) -> int:
        return sum(self.modes.values())

    @property
    def dead_share(self) -> float:
        return self.dead_bytes / self.beton_bytes if self.beton_bytes else 0.0

    def metrics(self) -> dict[str, float]:
        """The same for the same beton."""
        metrics = {
            "images": self.images,
            "source_bytes": self.source_bytes,
            "beton_bytes": self.beton_bytes,
            "jpg_share": self._share(self.modes["jpg"]),
            "raw_share": self._share(self.modes["raw"]),
            "passed_through_share": self._share(self.passed_through),
        }
        return metrics | ({"parts": self.parts, "dead_share": self.dead_share} if self.parts else {})

    def _share(self, images: int) -> float:
        return images / self.images if self.images else 0.0

    def speed(self) -> dict[str, float]:
        """Wall-clock figures: they differ from run to run."""
        return {"seconds": self.seconds, "images_per_second": self.images / self.seconds if self.images else 0.0}

    def __str__(self) -> str:
        if not self.images:
            return "no images, as the dataset has no such split"
        shares = [f"{count / self.images:.0%} {mode}" for mode, count in sorted(self.modes.items())]
        if self.passed_through:
            shares.append(f"{self.passed_through / self.images:.0%} as they were")
        text = (
            f"{self.images} images ({', '.join(shares)}), {self.source_bytes / 1e6:.1f} to "
            f"{self.beton_bytes / 1e6:.1f} MB in {self.seconds:.1f} s, {self.images / self.seconds:.0f} images/s"
        )
        if self.parts:
            text += f"; {self.written_parts} of {self.parts} parts were written"
        if self.dead_bytes:
            text += f", {self.dead_share:.1%} of the bytes are of images that are no more"
        if self.dead_share > WORTH_REPACKING:
            text += " (`make repack` removes them)"
        return text


def of_parts(folder: Beton, manifest: Manifest, seconds: float, written: int) -> Summary:
    """The summary of a folder of parts; written: how many of them were not there before."""
    used = np.unique(folder.samples_of(manifest.sha256))
    beton = folder.of_manifest(manifest)
    assert beton.passed_through is not None
    return Summary(
        modes=Counter({MODE_NAMES[mode]: count for mode, count in Counter(beton.modes.tolist()).items()}),
        passed_through=int(beton.passed_through.sum()),
        source_bytes=int(manifest.numbers("bytes").sum()),
        beton_bytes=folder.size,
        seconds=seconds,
        parts=len(folder.files),
        written_parts=written,
        dead_bytes=int(folder.sizes.sum() - folder.sizes[used].sum()),
    )
