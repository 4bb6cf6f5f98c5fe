"""What a trained model is given: the training image of any image, as the validation loader makes it from its file."""

from collections.abc import Iterable

import numpy as np
import torch
from PIL import Image

from formwork.interim.settings import Settings
from formwork.loading.augmentation.augmentation import Augmentation
from formwork.loading.dtypes import normalise, shift_and_scale
from formwork.loading.transforms import carry_out, channels_last


class Preprocessing:
    """The preprocessing that a model was validated with.

    Attributes:
        resolution: S, side of the training images in pixels.
    """

    def __init__(self, settings: Settings):
        """settings: of the dataset that the model was trained on."""
        self.resolution = settings.resolution
        self._augmentation = Augmentation(settings.augment_val, settings.resolution, 0, "augment.val")
        self._normal = shift_and_scale(settings.mean, settings.std)

    def training_image(self, image: Image.Image, sample: int) -> torch.Tensor:
        """(3, S, S) uint8 of an upright RGB image.

        Args:
            sample: its number, on which random operations depend, if there are any.

        Raises:
            AugmentationError: an operation fails on this image.
        """
        plan = self._augmentation.plan(0, *(np.array([n]) for n in (sample, image.height, image.width)))
        return carry_out(self._augmentation, plan, 0, image)

    def batch(self, training_images: Iterable[torch.Tensor]) -> torch.Tensor:
        """(B, 3, S, S) uint8, in the memory format of the loaders."""
        return channels_last(list(training_images), torch.uint8, self.resolution)

    def normalise(self, batch: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) float32 of a batch of uint8, on its device."""
        return normalise(batch, self._normal)
