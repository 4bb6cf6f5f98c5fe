"""Your own operations for augmentation lists.

Write a class like those in formwork/loading/augmentation (colour.py has pixel operations, geometry.py geometric ones),
and name it in OPERATIONS: it can then stand in every augmentation list of params.yaml, with both loaders, and is as
reproducible and as fast to start as the others. A pixel operation has four parts, which
formwork.loading.augmentation.base describes; this one inverts an image:

    @kernel
    def _invert(images, values):                          # (n, S, S, 3) uint8, changed in place; (n, 1) int64
        for i in range(len(images)):
            if values[i, 0]:
                images[i] = 255 - images[i]

    class Invert(PixelOperation):
        kernel = staticmethod(_invert)                    # for FFCVDataLoader

        def __init__(self, p=0.5):                        # the arguments in params.yaml
            self.p = check_probability(p)                 # a ValueError here names the key in params.yaml

        def draw(self, draw, resolution):                 # all random numbers are drawn here
            return (draw.uniform()[:, :1] < self.p).astype(np.int64)

        def function(self, image, values):                # for PyTorchDataLoader: (3, S, S) uint8
            return 255 - image if values[0] else image

    OPERATIONS = {"Invert": Invert}

with these imports:

    import numpy as np
    from formwork.kernels.compile import kernel
    from formwork.loading.augmentation.base import PixelOperation, check_probability

Compare both forms as tests/loading/augmentation/test_pixels.py does.
"""

from collections.abc import Callable

OPERATIONS: dict[str, Callable] = {}
"""By the name in params.yaml."""
