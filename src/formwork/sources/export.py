"""Export of a dataset of small images that torchvision has parsed, as PNG files."""

from pathlib import Path
from typing import Protocol

from PIL import Image

from formwork.progress import progress


class Labelled(Protocol):
    """A torchvision dataset: (image, label) by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Image.Image, int]: ...


def export(parts: dict[str, Labelled], class_names: list[str], folder: Path) -> None:
    """Write {train,test}/<class>/<index>.png below `folder`; the same images give the same bytes.

    Args:
        parts: the images of each split; their index there is that in the file name.
    """
    for split, part in parts.items():
        for name in class_names:
            (folder / split / name).mkdir(parents=True, exist_ok=True)
        for index in progress(range(len(part)), name=f"write {split}", unit="images"):
            image, label = part[index]
            image.save(folder / split / class_names[label] / f"{index:05d}.png", optimize=False)
