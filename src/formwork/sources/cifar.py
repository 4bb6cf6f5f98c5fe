"""Shared by CIFAR-10 and CIFAR-100: download, unpack and export."""

from pathlib import Path
from typing import TYPE_CHECKING

from formwork.sources.download import download, empty_folder, unpack
from formwork.sources.export import export

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10


def write_cifar(kind: "type[CIFAR10]", folder: Path, archives: Path) -> None:
    """Write {train,test}/<class>/<index>.png below `folder`, 8-bit RGB.

    Args:
        kind: the torchvision class of the dataset.
    """
    root = empty_folder(archives / "unpacked")
    unpack(download([kind.url], archives, kind.tgz_md5), root)
    train, test = kind(root, train=True), kind(root, train=False)
    export({"train": train, "test": test}, train.classes, folder)
