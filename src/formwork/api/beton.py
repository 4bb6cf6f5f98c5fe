"""read_beton: the images and labels of a beton, one by one."""

from collections.abc import Iterator
from os import PathLike
from pathlib import Path

import numpy as np

from formwork.beton.beton import Beton
from formwork.beton.read import open_beton
from formwork.errors import BetonError
from formwork.tools.inspect.verify import open_samples


class BetonImages:
    """The N samples of a beton: `images[i]` is the i-th image, (H, W, 3) uint8 RGB as it is stored, and its label.

    It can be shared by threads and sent to other processes, and has no file open between two samples.

    Attributes:
        path: of the file.
        labels: (N,) int64. widths, heights: (N,) int64 pixels.
        class_names: by label; None in a beton of FFCV's own writer, which does not know them.
        field_names: of all fields of the beton, in their order; an image and a label are what is read.
    """

    def __init__(self, beton: Beton):
        self._beton = beton
        self.path = beton.path
        self.labels, self.widths, self.heights = beton.labels, beton.widths, beton.heights
        self.field_names = beton.field_names
        self.class_names: dict[int, str] | None = None
        if beton.provenance and not beton.in_parts:
            self.class_names = {int(label): name for label, name in beton.provenance.facts["class_names"].items()}

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


def read_beton(path: str | PathLike[str]) -> BetonImages:
    """The images and labels of a beton, one written here or by FFCV, with whatever other fields.

        images = formwork.read_beton("data/processed/digits/train.beton")
        pixels, label = images[0]                # (H, W, 3) uint8, int
        images.class_names[label]

    Raises:
        BetonError: it is missing, damaged, or has not one RGBImageField and one IntField.
    """
    return BetonImages(open_beton(Path(path)))
