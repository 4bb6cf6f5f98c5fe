"""60,000 photos of 32 x 32 pixels in 10 classes: 50,000 to train, 10,000 to test. A download of 170 MB.

A. Krizhevsky: Learning multiple layers of features from tiny images, 2009.
"""

from pathlib import Path

from formwork.params import Section
from formwork.sources.cifar import write_cifar

VERSION = 2


def write(folder: Path, archives: Path, options: Section) -> None:
    """Write {train,test}/<class>/<index>.png below `folder`, 8-bit RGB."""
    from torchvision.datasets import CIFAR10

    write_cifar(CIFAR10, folder, archives)
