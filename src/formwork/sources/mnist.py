"""70,000 handwritten digits of 28 x 28 grey pixels: 60,000 to train, 10,000 to test. A download of 12 MB.

Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-based learning applied to document recognition, 1998.
"""

from pathlib import Path

from formwork.params import Section
from formwork.sources.download import download, empty_folder, unpack
from formwork.sources.export import export

VERSION = 2
CLASS_NAMES = [str(digit) for digit in range(10)]


def write(folder: Path, archives: Path, options: Section) -> None:
    """Write {train,test}/<digit>/<index>.png below `folder`, 8-bit grey."""
    from torchvision.datasets import MNIST

    root = empty_folder(archives / "unpacked")
    for name, md5 in MNIST.resources:
        archive = download([f"{mirror}{name}" for mirror in MNIST.mirrors], archives, md5)
        unpack(archive, root / "MNIST" / "raw")
    export({"train": MNIST(root, train=True), "test": MNIST(root, train=False)}, CLASS_NAMES, folder)
