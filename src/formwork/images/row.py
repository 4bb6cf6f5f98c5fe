"""One image of a manifest, and the columns that a manifest has.

Those up to `sha256` say which images there are, and a beton is made from them alone. Those after it come from a table
of labels: they may change, and no image is written again. The last, `offset`, says where images lie in tars, so that
nobody has to list these again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Task = Literal["classes", "multilabel", "regression"]
IMAGE = ("bytes", "width", "height", "mode", "format", "sha256")
CLASS = ("class_name", "label")
TARGET = "target."  # before the name of a target, in the header
SEPARATOR = ";"  # between the labels of an image


@dataclass(frozen=True, slots=True)
class Row:
    """One image.

    Attributes:
        path: relative to the raw dataset, with forward slashes.
        class_name: name of the class; "" where the task is another than classes.
        label: position of class_name among the sorted class names.
        bytes: size of the file.
        width, height: in pixels, upright.
        mode, format: as Pillow names what the file holds, e.g. "L" and "PNG".
        sha256: of the file's content, hexadecimal.
        labels: those of an image that may have several, sorted.
        targets: numbers, in the order of the manifest's target names.
        group: images of one group are in the same split; "" is none.
        weight: of the image in the training loss.
        offset: byte of its tar at which the image begins; -1 for any other image.
    """

    path: str
    class_name: str
    label: int
    bytes: int
    width: int
    height: int
    mode: str
    format: str
    sha256: str
    labels: tuple[str, ...] = ()
    targets: tuple[float, ...] = ()
    group: str = ""
    weight: float = 1.0
    offset: int = -1

    @property
    def span(self) -> tuple[int, int] | None:
        """Where the image is in its tar: offset and size in bytes."""
        return None if self.offset < 0 else (self.offset, self.bytes)


@dataclass(frozen=True)
class Columns:
    """Which columns a manifest has.

    Attributes:
        task: what a model is to predict: one of several classes, any of several labels, or numbers.
        from_table: labels come from a table, and not from the folders that the images lie in.
        target_names: of the numbers, where the task is regression.
        groups, weights, offsets: whether there is such a column.
    """

    task: Task = "classes"
    from_table: bool = False
    target_names: tuple[str, ...] = ()
    groups: bool = False
    weights: bool = False
    offsets: bool = False

    @property
    def of_images(self) -> tuple[str, ...]:
        """The columns that a beton is made from."""
        return ("path", *IMAGE) if self.from_table else ("path", *CLASS, *IMAGE)

    @property
    def header(self) -> tuple[str, ...]:
        labels: tuple[str, ...] = ()
        if self.task == "multilabel":
            labels = ("labels",)
        elif self.task == "regression":
            labels = tuple(TARGET + name for name in self.target_names)
        elif self.from_table:
            labels = CLASS
        more = ("group",) * self.groups + ("weight",) * self.weights + ("offset",) * self.offsets
        return (*self.of_images, *labels, *more)

    @classmethod
    def of_header(cls, header: Sequence[str]) -> "Columns | None":
        """None for what is no header of a manifest."""
        task: Task = "classes"
        targets = tuple(name.removeprefix(TARGET) for name in header if name.startswith(TARGET))
        if targets:
            task = "regression"
        elif "labels" in header:
            task = "multilabel"
        from_table = tuple(header[1:3]) != CLASS
        found = cls(task, from_table, targets, "group" in header, "weight" in header, "offset" in header)
        return found if found.header == tuple(header) else None

    def values(self, row: Row) -> Iterator[object]:
        """Those of an image, in the order of the header."""
        targets = iter(row.targets)
        for name in self.header:
            if name.startswith(TARGET):
                yield next(targets)
            else:
                yield SEPARATOR.join(row.labels) if name == "labels" else getattr(row, name)


FOLDERS = Columns()
"""Of a dataset whose folders are classes, and that has no table."""
