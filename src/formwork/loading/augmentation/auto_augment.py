"""The pixel operation AutoAugment, and the policies that were found for it."""

from collections.abc import Sequence

import numpy as np

from formwork.loading.augmentation.base import Draw
from formwork.loading.augmentation.policies import NARROW, Policy

BINS = 10  # magnitudes
POLICIES = {
    "imagenet": """
        Posterize 0.4 8; Rotate 0.6 9
        Solarize 0.6 5; AutoContrast 0.6
        Equalize 0.8; Equalize 0.6
        Posterize 0.6 7; Posterize 0.6 6
        Equalize 0.4; Solarize 0.2 4
        Equalize 0.4; Rotate 0.8 8
        Solarize 0.6 3; Equalize 0.6
        Posterize 0.8 5; Equalize 1
        Rotate 0.2 3; Solarize 0.6 8
        Equalize 0.6; Posterize 0.4 6
        Rotate 0.8 8; Color 0.4 0
        Rotate 0.4 9; Equalize 0.6
        Equalize 0; Equalize 0.8
        Invert 0.6; Equalize 1
        Color 0.6 4; Contrast 1 8
        Rotate 0.8 8; Color 1 2
        Color 0.8 8; Solarize 0.8 7
        Sharpness 0.4 7; Invert 0.6
        ShearX 0.6 5; Equalize 1
        Color 0.4 0; Equalize 0.6
        Equalize 0.4; Solarize 0.2 4
        Solarize 0.6 5; AutoContrast 0.6
        Invert 0.6; Equalize 1
        Color 0.6 4; Contrast 1 8
        Equalize 0.8; Equalize 0.6
    """,
    "cifar10": """
        Invert 0.1; Contrast 0.2 6
        Rotate 0.7 2; TranslateX 0.3 9
        Sharpness 0.8 1; Sharpness 0.9 3
        ShearY 0.5 8; TranslateY 0.7 9
        AutoContrast 0.5; Equalize 0.9
        ShearY 0.2 7; Posterize 0.3 7
        Color 0.4 3; Brightness 0.6 7
        Sharpness 0.3 9; Brightness 0.7 9
        Equalize 0.6; Equalize 0.5
        Contrast 0.6 7; Sharpness 0.6 5
        Color 0.7 7; TranslateX 0.5 8
        Equalize 0.3; AutoContrast 0.4
        TranslateY 0.4 3; Sharpness 0.2 6
        Brightness 0.9 6; Color 0.2 8
        Solarize 0.5 2; Invert 0
        Equalize 0.2; AutoContrast 0.6
        Equalize 0.2; Equalize 0.6
        Color 0.9 9; Equalize 0.6
        AutoContrast 0.8; Solarize 0.2 8
        Brightness 0.1 3; Color 0.7 0
        Solarize 0.4 5; AutoContrast 0.9
        TranslateY 0.9 9; TranslateY 0.7 9
        AutoContrast 0.9; Solarize 0.8 3
        Equalize 0.8; Invert 0.1
        TranslateY 0.7 9; AutoContrast 0.9
    """,
    "svhn": """
        ShearX 0.9 4; Invert 0.2
        ShearY 0.9 8; Invert 0.7
        Equalize 0.6; Solarize 0.6 6
        Invert 0.9; Equalize 0.6
        Equalize 0.6; Rotate 0.9 3
        ShearX 0.9 4; AutoContrast 0.8
        ShearY 0.9 8; Invert 0.4
        ShearY 0.9 5; Solarize 0.2 6
        Invert 0.9; AutoContrast 0.8
        Equalize 0.6; Rotate 0.9 3
        ShearX 0.9 4; Solarize 0.3 3
        ShearY 0.8 8; Invert 0.7
        Equalize 0.9; TranslateY 0.6 6
        Invert 0.9; Equalize 0.6
        Contrast 0.3 3; Rotate 0.8 4
        Invert 0.8; TranslateY 0 2
        ShearY 0.7 6; Solarize 0.4 8
        Invert 0.6; Rotate 0.8 4
        ShearY 0.3 7; TranslateX 0.9 3
        ShearX 0.1 6; Invert 0.6
        Solarize 0.7 2; TranslateY 0.6 7
        ShearY 0.8 4; Invert 0.8
        ShearX 0.7 9; TranslateY 0.8 3
        ShearY 0.8 5; AutoContrast 0.7
        ShearX 0.7 2; Invert 0.1
    """,
}
"""Pairs of an operation, its probability and, where it has one, its magnitude from 0 to 9."""


class AutoAugment(Policy):
    """One random pair of operations of a policy, each with its own probability; torchvision's.

    E. D. Cubuk, B. Zoph, D. Mané, V. Vasudevan and Q. V. Le, "AutoAugment: Learning augmentation strategies from data",
    CVPR 2019, whose appendix has the policies.

    Args:
        policy: the data that it was found for: imagenet, cifar10 or svhn.
        interpolation, fill: as for RandomRotation.
    """

    def __init__(
        self, policy: str = "imagenet", interpolation: str = "nearest", fill: int | Sequence[int] | None = None
    ):
        super().__init__(interpolation, fill)
        if not isinstance(policy, str) or policy not in POLICIES:
            raise ValueError(f"policy must be one of {', '.join(POLICIES)}, and is {policy!r}")
        self.pairs = [
            [operation.split() for operation in line.split(";")] for line in POLICIES[policy].strip().splitlines()
        ]
        self.probabilities = np.array([[float(operation[1]) for operation in pair] for pair in self.pairs])

    def table(self, resolution: int) -> np.ndarray:
        """(pairs, 2 of a pair, signs, WIDTH)."""
        return np.array(
            [
                [NARROW.steps(name, BINS, resolution)[:, int(*magnitude)] for name, _, *magnitude in pair]
                for pair in self.pairs
            ]
        )

    def draw(self, draw: Draw, resolution: int) -> np.ndarray:
        u = draw.uniforms(5)
        pair = (u[:, :1] * len(self.pairs)).astype(int)
        happens = u[:, 1:3] < self.probabilities[pair[:, 0]]
        steps = self.choices(resolution)[pair, [[0, 1]], (u[:, 3:] <= 0.5).astype(int)]
        return self.values(np.where(happens[..., None], steps, 0))  # 0 is NOTHING
