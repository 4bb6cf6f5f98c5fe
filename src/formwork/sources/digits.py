"""1,797 handwritten digits of 8 x 8 pixels and 17 grey levels, embedded in scikit-learn: nothing is downloaded.

They are the test part of "Optical Recognition of Handwritten Digits" by E. Alpaydin and C. Kaynak, UCI Machine
Learning Repository, 1998.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from formwork.params import Section
from formwork.progress import progress

VERSION = 1
WHITE = 16  # the brightest of scikit-learn's grey levels


def write(folder: Path, archives: Path, options: Section) -> None:
    """Write <digit>/<number>.png below `folder`, 8-bit grey, the same bytes each time."""
    from sklearn.datasets import load_digits  # takes seconds to import

    digits = load_digits()
    images = np.rint(digits.images * (255 / WHITE)).astype(np.uint8)
    for number, (image, label) in enumerate(
        zip(progress(images, name="fetch", unit="images"), digits.target, strict=True)
    ):
        path = folder / str(label) / f"{number:04d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(path, optimize=False)
