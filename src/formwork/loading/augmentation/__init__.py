"""The operations that can stand in an augmentation list and work with both loaders, by their names in params.yaml."""

from collections.abc import Callable

from formwork.loading.augmentation.affine import RandomAffine, RandomRotation
from formwork.loading.augmentation.augmix import AugMix
from formwork.loading.augmentation.auto_augment import AutoAugment
from formwork.loading.augmentation.base import GeometricOperation, PixelOperation
from formwork.loading.augmentation.blur import GaussianBlur
from formwork.loading.augmentation.colour import (
    ColorJitter,
    Grayscale,
    RandomChannelPermutation,
    RandomGrayscale,
    RandomPhotometricDistort,
)
from formwork.loading.augmentation.erase import Cutout, RandomErasing
from formwork.loading.augmentation.geometry import (
    CenterCrop,
    RandomCrop,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomTranslate,
    Resize,
)
from formwork.loading.augmentation.levels import (
    RandomAutocontrast,
    RandomEqualize,
    RandomInvert,
    RandomPosterize,
    RandomSolarize,
    Solarize,
)
from formwork.loading.augmentation.mirror import RandomVerticalFlip
from formwork.loading.augmentation.mixup import CutMix, MixOperation, Mixup
from formwork.loading.augmentation.noise import GaussianNoise, PoissonNoise
from formwork.loading.augmentation.perspective import RandomPerspective
from formwork.loading.augmentation.policies import RandAugment, TrivialAugmentWide
from formwork.loading.augmentation.sharpness import RandomAdjustSharpness

FITTING = {"Resize", "CenterCrop", "RandomResizedCrop"}
"""Operations that decide which part of an image becomes the training image. A list has one, first."""

NATIVE: dict[str, Callable[..., GeometricOperation | PixelOperation | MixOperation]] = {
    operation.__name__: operation
    for operation in (
        Resize,
        CenterCrop,
        RandomResizedCrop,
        RandomCrop,
        RandomTranslate,
        RandomHorizontalFlip,
        RandomVerticalFlip,
        RandomRotation,
        RandomAffine,
        RandomPerspective,
        ColorJitter,
        Grayscale,
        RandomGrayscale,
        RandomPhotometricDistort,
        RandomChannelPermutation,
        Solarize,
        RandomSolarize,
        RandomPosterize,
        RandomInvert,
        RandomAutocontrast,
        RandomEqualize,
        RandomAdjustSharpness,
        GaussianBlur,
        GaussianNoise,
        PoissonNoise,
        Cutout,
        RandomErasing,
        RandAugment,
        TrivialAugmentWide,
        AutoAugment,
        AugMix,
        Mixup,
        CutMix,
    )
}
