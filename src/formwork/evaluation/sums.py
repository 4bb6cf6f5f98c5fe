"""Sums over images that each count any number of times, exact to the last bit.

Most metrics are functions of such sums, so that one formula gives a metric of all images and of a thousand resamples.
Values are rounded to multiples of a power of two, so coarse that no sum has more bits than a float64: additions are
exact then, in whatever order a processor does them.
"""

import math
from collections.abc import Mapping

import numpy as np
from scipy.sparse import csr_array

BITS = 53  # of a float64
SPARE = 6  # bits for resamples that have more images than there are, as those of groups can


def fixed_point(values: np.ndarray) -> np.ndarray:
    """float64 multiples of a power of two, sums of which over the first axis are exact."""
    values = np.asarray(values, np.float64)
    largest = np.abs(values).max(initial=0.0)
    if not largest:
        return values
    digits = BITS - SPARE - math.ceil(math.log2(len(values) + 1)) - math.frexp(largest)[1]
    return np.ldexp(np.rint(np.ldexp(values, digits)), -digits)


def by_image(values: np.ndarray) -> csr_array:
    """(K, N) from (N,) or (N, K) values: to sum each of the K over the images."""
    columns = values.reshape(len(values), -1)
    return csr_array((columns if columns.dtype == bool else fixed_point(columns)).T).astype(np.float64)


def by_code(codes: np.ndarray, number: int, values: np.ndarray | None = None) -> csr_array:
    """(number, N): to sum the images, or their (N,) values, that have each code.

    Args:
        codes: (N,) integers below `number`.
    """
    count = len(codes)
    data = np.ones(count) if values is None else fixed_point(values)
    return csr_array((data, (codes, np.arange(count))), shape=(number, count))


class Sums:
    """Several sums by name, each a matrix (K, N)."""

    def __init__(self, matrices: Mapping[str, csr_array]):
        self.matrices = dict(matrices)

    def of(self, times: np.ndarray) -> dict[str, np.ndarray]:
        """(K, R) float64 of each name.

        Args:
            times: (N, R) float64, how often each image counts.
        """
        return {name: matrix @ times for name, matrix in self.matrices.items()}
