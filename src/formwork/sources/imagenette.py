"""Ten classes of ImageNet that are easy to tell apart: 9,469 photos to train, 3,925 to validate.

By J. Howard, https://github.com/fastai/imagenette. The download has 1.5 GB at full size, 330 MB at 320px and 95 MB at
160px, which are lengths of the shorter side.
"""

import os
from pathlib import Path

from formwork.params import ImagenetteSource
from formwork.progress import progress
from formwork.sources.download import download, empty_folder, unpack

VERSION = 1


def write(folder: Path, archives: Path, options: ImagenetteSource) -> None:
    """Write {train,val}/<class>/<file>.JPEG below `folder`, byte for byte as they came."""
    from torchvision.datasets import Imagenette

    url, md5 = Imagenette._ARCHIVES[options.size]
    archive = download([url], archives, md5)
    root = empty_folder(archives / "unpacked")
    print(f"Unpacking {archive}", flush=True)
    unpack(archive, root)
    for split in ("train", "val"):
        part = Imagenette(root, split, options.size)
        for path, label in progress(part._samples, name=f"write {split}", unit="images"):
            name = part.classes[label][0]
            target = folder / split / name / Path(path).name
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
