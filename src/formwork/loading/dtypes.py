"""The types that images of a batch can have, and how pixels become values of each."""

from collections.abc import Sequence

import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from formwork.kernels.compile import inner_kernel

STORED = {"float32": np.float32, "float16": np.int16, "bfloat16": np.uint16, "uint8": np.uint8}
"""By name, the type that kernels write. Numba knows neither float16 nor bfloat16: they are the bits of one."""


@intrinsic
def _half_bits(typing_context, value):
    """The bits of a float32 rounded to float16, int16."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(builder.fptrunc(arguments[0], ir.HalfType()), ir.IntType(16))

    return types.int16(types.float32), generate


@intrinsic
def _bits(typing_context, value):
    """The bits of a float32, uint32."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.uint32(types.float32), generate


def stored(value, shift, scale, out):
    """A value of a pixel, uint8 or int32, as an element of `out`; called by kernels only.

    Args:
        shift, scale: float32.
        out: of a type in STORED: uint8 as it is, any other (value - shift) * scale, rounded to float32 after each step
            and then to what it is.
    """
    raise NotImplementedError("compiled code only")


@overload(stored, inline="always")
def _stored(value, shift, scale, out):
    if out.dtype == types.uint8:
        return lambda value, shift, scale, out: np.uint8(value)
    if out.dtype == types.int16:
        return lambda value, shift, scale, out: _half_bits((np.float32(value) - shift) * scale)
    if out.dtype == types.uint16:
        return lambda value, shift, scale, out: _bfloat16_bits((np.float32(value) - shift) * scale)
    return lambda value, shift, scale, out: (np.float32(value) - shift) * scale


@inner_kernel
def _bfloat16_bits(value):
    """The upper half of a float32, rounded to nearest, ties to even."""
    bits = _bits(value)
    odd = np.uint32(bits >> np.uint32(16)) & np.uint32(1)
    return np.uint32(bits + np.uint32(odd + np.uint32(0x7FFF))) >> np.uint32(16)


@inner_kernel
def store(line, shift, scale, out):
    """A row of pixels: (N,) all; line uint8, the others as for `stored`."""
    for i in range(np.uint64(len(out))):  # no index counts from the end then: numba makes a vector of this loop
        out[i] = stored(line[i], shift[i], scale[i], out)


def as_tensor(stored: np.ndarray, dtype: str) -> torch.Tensor:
    """What kernels wrote, as the type that it is; the same memory."""
    return torch.from_numpy(stored).view(getattr(torch, dtype))


def shift_and_scale(mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """(2, 3) float32: an 8-bit value v of channel c becomes (v - [0, c]) * [1, c], both operations rounded to float32.

    Args:
        mean, std: by channel, in units of 0 to 1.
    """
    return np.stack([255 * np.asarray(mean), 1 / (255 * np.asarray(std))]).astype(np.float32)


def normalise(images: torch.Tensor, normal: np.ndarray) -> torch.Tensor:
    """What the loader has not normalised yet, on the device that it is on; to the bit what the kernels make of it.

    Args:
        images: (3, H, W), (B, 3, H, W) or (B, T, 3, H, W), uint8 or already normalised.
        normal: from shift_and_scale.

    Returns:
        float32, or `images` themselves if they are no uint8. Images that are shown several times are normalised once.
    """
    if images.dtype != torch.uint8:
        return images
    if images.dim() == 5:
        return normalise(images[:, 0], normal).unsqueeze(1).expand_as(images)
    shift, scale = torch.from_numpy(normal).to(images.device).view(2, 3, 1, 1)
    return images.to(torch.float32).sub_(shift).mul_(scale)
