"""The types that images of a batch can have, and how pixels become values of each."""

from collections.abc import Sequence

import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

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


def store(line, shift, scale, out):
    """Write a row of pixels in the type of `out`; called by kernels only.

    Args:
        line: (N,) uint8. shift, scale: (N,) float32.
        out: (N,), of a type in STORED: uint8 as it is, any other (line - shift) * scale, rounded to float32 after each
            step and then to what it is.
    """
    raise NotImplementedError("compiled code only")


@overload(store)
def _store(line, shift, scale, out):
    # Counters are unsigned, as no index can then be one that counts from the end: numba makes vectors of these loops.
    if out.dtype == types.uint8:

        def copy(line, shift, scale, out):
            for i in range(np.uint64(len(out))):
                out[i] = line[i]

        return copy
    if out.dtype == types.int16:

        def float16(line, shift, scale, out):
            for i in range(np.uint64(len(out))):
                out[i] = _half_bits((np.float32(line[i]) - shift[i]) * scale[i])

        return float16
    if out.dtype == types.uint16:

        def bfloat16(line, shift, scale, out):
            for i in range(np.uint64(len(out))):
                bits = _bits((np.float32(line[i]) - shift[i]) * scale[i])
                # The upper half, rounded to nearest, ties to even.
                odd = np.uint32(bits >> np.uint32(16)) & np.uint32(1)
                out[i] = np.uint32(bits + np.uint32(odd + np.uint32(0x7FFF))) >> np.uint32(16)

        return bfloat16

    def float32(line, shift, scale, out):
        for i in range(np.uint64(len(out))):
            out[i] = (np.float32(line[i]) - shift[i]) * scale[i]

    return float32


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
