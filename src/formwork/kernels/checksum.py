"""The checksum of a sample, in 64 bits; see formwork.kernels.checksum_formula."""

from collections.abc import Callable

from formwork.kernels import checksum_formula
from formwork.kernels.compile import either


def _kernel() -> Callable[..., int]:
    from formwork.kernels import checksum_kernel

    return checksum_kernel.checksum


checksum = either(_kernel, checksum_formula.checksum)
