"""60,000 photos of 32 x 32 pixels in 10 classes: 50,000 to train, 10,000 to validate. A download of 170 MB.

A. Krizhevsky: Learning multiple layers of features from tiny images, 2009.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from formwork.datasets.download import download, empty_folder, unpack
from formwork.datasets.export import export
from formwork.params import Section

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10

VERSION = 1


def write(folder: Path, archives: Path, options: Section) -> None:
    """Write {train,val}/<class>/<index>.png below `folder`, 8-bit RGB."""
    from torchvision.datasets import CIFAR10

    write_cifar(CIFAR10, folder, archives)


def write_cifar(kind: "type[CIFAR10]", folder: Path, archives: Path) -> None:
    """CIFAR-10, or CIFAR-100, which differs by its addresses and names alone."""
    root = empty_folder(archives / "unpacked")
    unpack(download([kind.url], archives, kind.tgz_md5), root)
    train, val = kind(root, train=True), kind(root, train=False)
    export({"train": train, "val": val}, train.classes, folder)
