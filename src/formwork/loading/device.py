"""Batches on their way to a GPU, one ahead of the training.

They are copied from pinned memory on a stream of their own, as uint8, and normalised there: a quarter of the bytes, and
the same values bit for bit, because both operations of formwork.loading.dtypes.normalise round alike on every device.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Protocol

import numpy as np
import torch

from formwork.errors import FormworkError
from formwork.loading.dtypes import normalise
from formwork.loading.pinned import pinned

UNDER_WAY = 2  # batches whose copies may not be over: that of the next step, and that of the one which is computed


class Transfer(Protocol):
    """A batch that is on its way to a device."""

    def wait(self) -> None:
        """Return when the memory that it is copied from is no longer read."""

    def arrived(self) -> Any:
        """The batch on the device, for what is computed there from now on; nobody waits but the device. Once."""


class Destination(Protocol):
    """Where batches go."""

    def send(self, batch: Any) -> Transfer:
        """Begin to copy a batch, which the caller keeps until Transfer.wait has returned."""


class GPU:
    """A CUDA device.

    Args:
        dtype: of the images there; they come as uint8.
        normal: see formwork.loading.dtypes.shift_and_scale.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype, normal: np.ndarray):
        self.device = device
        self.dtype = dtype
        self.normal = torch.from_numpy(normal).to(device)  # once: a copy from pageable memory waits for its stream
        self.stream = torch.cuda.Stream(device)

    def send(self, batch: Any) -> "GPUTransfer":
        # The copy begins when the GPU is done with what it was given until now, the step of the batch that was handed
        # out last. So it is one batch ahead, and its memory with it, however far the CPU runs ahead of the GPU.
        self.stream.wait_stream(torch.cuda.current_stream(self.device))
        host = mapped(pinned, batch)
        with torch.cuda.stream(self.stream):
            images, *numbers = mapped(lambda part: part.to(self.device, non_blocking=True), host)
            images = mapped(lambda part: normalise(part, self.normal).to(self.dtype), images)
            over = torch.cuda.Event(blocking=True)  # who waits for it leaves the core to the loader
            over.record(self.stream)
        return GPUTransfer(host, (images, *numbers), over, self.device)


class GPUTransfer:
    """A batch whose copy, and normalisation, are over when the event is."""

    def __init__(self, host: Any, batch: Any, over: torch.cuda.Event, device: torch.device):
        self.host = host  # kept until then: parts that had to be pinned are copies of their own
        self.batch = batch
        self.over = over
        self.device = device

    def wait(self) -> None:
        self.over.synchronize()

    def arrived(self) -> Any:
        stream = torch.cuda.current_stream(self.device)
        stream.wait_event(self.over)
        batch, self.batch = self.batch, None
        # Its memory is of the other stream, which would use it again while this one may still read it.
        mapped(lambda part: part.record_stream(stream), batch)
        return batch


def prefetched(batches: Iterator[Any], destination: Destination) -> Iterator[Any]:
    """The batches on a device, each handed out after the copy of the next one has begun.

    A batch of the loader is held until its copy is over, so that its memory is not used again before. Nothing is on the
    way any more when this generator has ended, or is closed or collected.
    """
    under_way: deque[tuple[Any, Transfer]] = deque()
    try:
        for batch in batches:
            # So many batches are held at most, however far the CPU runs ahead of the GPU.
            while len(under_way) >= UNDER_WAY:
                under_way[0][1].wait()
                under_way.popleft()
            under_way.append((batch, destination.send(batch)))
            if len(under_way) > 1:
                yield under_way[-2][1].arrived()
        if under_way:
            yield under_way[-1][1].arrived()
    finally:
        # Where the GPU has failed it copies no more: the training is told so by what it computes itself.
        with suppress(torch.AcceleratorError):
            for _, transfer in under_way:
                transfer.wait()


def mapped(function: Callable[[torch.Tensor], Any], batch: Any) -> Any:
    """A batch with each of its tensors replaced; tuples in it, and itself, may be nested."""
    return function(batch) if isinstance(batch, torch.Tensor) else tuple(mapped(function, part) for part in batch)


def usable_device(device: str | torch.device) -> torch.device:
    """A device that a user names; "auto" is the GPU where there is one, and the CPU elsewhere.

    Raises:
        FormworkError: it cannot be used.
    """
    if device == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # each by some kind of device
        reason = str(error).splitlines()[0]
        raise FormworkError(f"The device {device!s} cannot be used: {reason} Take cpu, or auto.") from error
    return found
