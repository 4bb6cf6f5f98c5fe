"""The types that images of a batch can have, and how pixels become values of each."""

from collections.abc import Sequence

import numpy as np
import torch

STORED = {
    name: np.dtype(stored)
    for name, stored in (("float32", "f4"), ("float16", "i2"), ("bfloat16", "u2"), ("uint8", "u1"))
}
"""By name, the type that kernels write. Numba knows neither float16 nor bfloat16: they are the bits of one."""


def as_tensor(stored: np.ndarray) -> torch.Tensor:
    """An array of a type in STORED as a tensor of the type that its bits are of; the same memory."""
    (name,) = (name for name, kind in STORED.items() if stored.dtype == kind)
    return torch.from_numpy(stored).view(getattr(torch, name))


def shift_and_scale(mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """(2, 3) float32: an 8-bit value v of channel c becomes (v - [0, c]) * [1, c], both operations rounded to float32.

    Args:
        mean, std: by channel, in units of 0 to 1.
    """
    return np.stack([255 * np.asarray(mean), 1 / (255 * np.asarray(std))]).astype(np.float32)


def is_over_time(images: object) -> bool:
    """Whether images have a time axis, (B, T, 3, H, W), along which they are the same memory."""
    return isinstance(images, torch.Tensor) and images.dim() == 5 and images.stride(1) == 0


def normalise(images: torch.Tensor, normal: np.ndarray | torch.Tensor) -> torch.Tensor:
    """Normalise uint8 images on their device, bit for bit as the kernels do.

    Args:
        images: (..., 3, H, W), uint8 or already normalised.
        normal: from shift_and_scale; as a tensor on the device of the images it is not copied there each time.

    Returns:
        float32, or `images` themselves if they are no uint8. Images that are shown several times are normalised once.
    """
    if images.dtype != torch.uint8:
        return images
    if is_over_time(images):
        return normalise(images[:, 0], normal).unsqueeze(1).expand_as(images)
    shift, scale = torch.as_tensor(normal, device=images.device).view(2, 3, 1, 1)
    return images.to(torch.float32).sub_(shift).mul_(scale)
