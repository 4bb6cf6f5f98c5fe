"""FFCV's own operations in an augmentation list, by the name `ffcv.<class of ffcv.transforms>`.

They draw from numba's generator, which no seed of FFCV's reaches. Here it is seeded before each image from (seed,
epoch, sample id, operation), so that they are as reproducible as ours, and the same with both loaders. They are
compiled in each process, as FFCV compiles them, which takes a second or two.
"""

import inspect
import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from formwork.errors import did_you_mean
from formwork.loading.augmentation.arguments import bind
from formwork.loading.augmentation.base import Draw, PixelOperation

_ONCE = threading.Lock()


class FFCVOperation(PixelOperation):
    """Makes a pixel operation of one of FFCV's that maps (N, S, S, 3) uint8 to the same shape and type.

    Args:
        name: of a class in ffcv.transforms. arguments: of it.

    Raises:
        ValueError: there is no such operation, or it cannot stand in a list. TypeError: of its arguments.
    """

    def __init__(self, name: str, arguments: dict[str, Any]):
        self.name = name
        self.arguments = arguments
        operation = self._operation()  # now, because it checks the arguments
        if getattr(operation.generate_code(), "with_indices", False):
            raise ValueError("it works on a whole batch and has no form for one image")
        self._memory(operation, 8)

    def _operation(self) -> Any:
        try:
            from formwork.loading.ffcv import import_ffcv  # noqa: F401  (FFCV is imported there first)
        except (ImportError, OSError) as error:
            raise ValueError(
                f"the package ffcv cannot be imported ({error}). Run `make setup`, which says what it needs, or remove "
                "the operation from the list: all others, and loading betons, work without ffcv"
            ) from error
        from ffcv import transforms
        from ffcv.pipeline.operation import Operation

        found = getattr(transforms, self.name, None)
        if not (inspect.isclass(found) and issubclass(found, Operation)):
            raise ValueError(f"ffcv.transforms has no such operation. {did_you_mean(self.name, transforms.__all__)}")
        return found(**bind(found, self.arguments, typed=True))

    def _memory(self, operation: Any, size: int) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type of what it wants to work in, for an image of size x size pixels."""
        from ffcv.pipeline.state import State

        state = State(jit_mode=True, device=torch.device("cpu"), shape=(size, size, 3), dtype=np.dtype("uint8"))
        after, query = operation.declare_state_and_memory(state)
        if not after.jit_mode or after.shape != state.shape or np.dtype(after.dtype) != state.dtype:
            raise ValueError("it does not give an 8-bit image of the size that it gets, which the list goes on with")
        return ((1,), np.dtype("uint8")) if query is None else ((1, *query.shape), np.dtype(query.dtype))

    def draw(self, draw: Draw, resolution: int) -> np.ndarray:
        """(B, 1): seeds."""
        return (draw.uniform()[:, :1] * 2**32).astype(np.int64)

    def kernel(self, images: np.ndarray, values: np.ndarray) -> None:
        if len(images):
            shape, dtype = self._memory(self._kept, images.shape[1])
            with _ONCE:  # threads get the same function, and numba compiles it once
                run = self._compiled
            run(images, values, np.empty(shape, dtype))

    def function(self, image: torch.Tensor, values: Sequence[int]) -> torch.Tensor:
        pixels = image.permute(1, 2, 0).contiguous().numpy()[None].copy()
        self.kernel(pixels, np.asarray(values, np.int64)[None])
        return torch.from_numpy(pixels[0]).permute(2, 0, 1)

    @cached_property
    def _kept(self) -> Any:
        return self._operation()

    @cached_property
    def _compiled(self) -> Callable[[np.ndarray, np.ndarray, np.ndarray], None]:
        from numba import njit  # here, because without it ffcv cannot be imported, which is said first

        # Not in parallel: numba's other threads have generators of their own, which a seed set here does not reach.
        code = njit(nogil=True, fastmath=True, error_model="numpy")(self._kept.generate_code())

        @njit(nogil=True)
        def run(images: np.ndarray, values: np.ndarray, memory: np.ndarray) -> None:
            for i in range(len(images)):
                np.random.seed(values[i, 0])  # noqa: NPY002  (numba's, which FFCV draws from)
                images[i : i + 1] = code(images[i : i + 1], memory)

        return run

    def __getstate__(self) -> dict[str, Any]:
        """For worker processes, which compile it themselves."""
        return {"name": self.name, "arguments": self.arguments}
