"""read_beton: the images and labels of a beton, one by one."""

from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from formwork.beton.beton import Beton
from formwork.beton.read import open_beton
from formwork.errors import BetonError
from formwork.images.manifest import Manifest
from formwork.tools.inspect.contents import find_manifest
from formwork.tools.inspect.verify import open_samples


class BetonImages:
    """The N samples of a beton: `images[i]` is the i-th image, (H, W, 3) uint8 RGB as it is stored, and its label.

    It can be shared by threads and sent to other processes, and has no file open between two samples.

    Attributes:
        path: of the file, or of the folder of parts.
        labels: (N,) int64: classes; or where several labels or numbers belong to an image, its row in the manifest.
        widths, heights: (N,) int64 pixels.
        class_names: by label; None where the beton does not know them: one of FFCV's own writer, and parts without the
            manifest at its place.
        field_names: of all fields of the beton, in their order; an image and a label are what is read.
    """

    def __init__(self, beton: Beton, manifest: Manifest | None = None):
        """manifest: of parts, which know neither order nor labels; what it does not list is left out."""
        self.class_names: dict[int, str] | None = None
        labels = beton.labels
        if manifest is not None:
            samples = beton.samples_of(manifest.sha256)
            labels = np.flatnonzero(samples >= 0)
            beton = beton.take(samples[labels])
            if manifest.task == "classes":
                names = manifest.texts("class_name")
                labels = manifest.labels[labels]
                classes, rows = np.unique(manifest.labels, return_index=True)
                self.class_names = {int(label): names[row] for label, row in zip(classes, rows, strict=True)}
        elif beton.provenance and not beton.in_parts:
            self.class_names = {int(label): name for label, name in beton.provenance.facts["class_names"].items()}
        self._beton = beton
        self.path = beton.path
        self.labels, self.widths, self.heights = labels, beton.widths, beton.heights
        self.field_names = beton.field_names

    def __len__(self) -> int:
        return len(self._beton)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        """Raises BetonError: the sample is damaged, or the file cannot be read any more."""
        sample = range(len(self))[index]  # negative ones count from the end
        with open_samples(self._beton) as samples:
            data = samples.read(sample)
            if fault := samples.fault(data, sample):
                raise BetonError(f"{self.path}: sample {sample} cannot be used: {fault}.")
            pixels = samples.decode(data, sample)
        assert pixels is not None  # it is whole
        return pixels, int(self.labels[sample])

    def __iter__(self) -> Iterator[tuple[np.ndarray, int]]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"<{len(self)} images of {len(np.unique(self.labels))} classes in {self.path}>"


def read_beton(path: str | PathLike[str] | Sequence[str | PathLike[str]]) -> BetonImages:
    """The images and labels of a beton, one written here or by FFCV, with whatever other fields.

    Of a beton in parts, order and labels are those of the manifest, where that stands at its place in data/interim;
    without it they are positions.

        images = formwork.read_beton("data/processed/digits/train.beton")
        pixels, label = images[0]                # (H, W, 3) uint8, int
        images.class_names[label]

    Args:
        path: a file, a folder of parts, or several files, which are read as one.

    Raises:
        BetonError: it is missing, damaged, or has not one RGBImageField and one IntField.
    """
    if not isinstance(path, (str, PathLike)):
        return BetonImages(open_beton([Path(one) for one in path]))
    beton = open_beton(Path(path))
    return BetonImages(beton, find_manifest(beton, None) if beton.in_parts else None)
