"""A device whose copies come late, and read the memory itself, as a GPU does: no reference keeps that alive."""

import ctypes
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch

from formwork.loading.base import LoaderConfig
from formwork.loading.device import mapped
from formwork.loading.dtypes import normalise


class SlowDevice:
    """A formwork.loading.device.Destination.

    Attributes:
        sent, arrived: batches. most_ahead: the most that were sent and not handed out, when one was handed out.
        under_way: copies that are not over.
        changed: batches whose memory changed between the beginning of their copy and its end.
    """

    def __init__(self, config: LoaderConfig, seconds: float = 0.01):
        self.config, self.seconds = config, seconds
        self.stream = ThreadPoolExecutor(1)
        self.sent = self.arrived = self.most_ahead = self.under_way = self.changed = 0

    def send(self, batch: Any) -> "SlowTransfer":
        self.sent += 1
        self.under_way += 1
        copies = mapped(_late_copy, batch)
        before = [copy() for copy in _flat(copies)]
        return SlowTransfer(self, copies, self.stream.submit(self._copy, copies, before))

    def _copy(self, copies: tuple, before: list[torch.Tensor]) -> Any:
        time.sleep(self.seconds)
        after = _called(copies)
        self.changed += not all(torch.equal(a, b) for a, b in zip(before, _flat(after), strict=True))
        self.under_way -= 1
        images, *numbers = after
        dtype = getattr(torch, "float32" if self.config.dtype == "uint8" else self.config.dtype)
        return mapped(lambda part: normalise(part, self.config.normal).to(dtype), images), *numbers


class SlowTransfer:
    def __init__(self, device: SlowDevice, copies: tuple, result: Future):
        self.device, self.result = device, result

    def wait(self) -> None:
        self.result.result()

    def arrived(self) -> Any:
        self.device.arrived += 1
        self.device.most_ahead = max(self.device.most_ahead, self.device.sent - self.device.arrived)
        return self.result.result()


def _late_copy(part: torch.Tensor) -> Callable[[], torch.Tensor]:
    """A function that reads the memory of a dense tensor, and holds none of it."""
    address, count, shape, stride, dtype = part.data_ptr(), part.nbytes, part.shape, part.stride(), part.dtype

    def copy() -> torch.Tensor:
        if not count:
            return torch.empty(shape, dtype=dtype)
        content = bytearray(ctypes.string_at(address, count))
        return torch.frombuffer(content, dtype=dtype).as_strided(shape, stride)

    return copy


def _flat(parts: Any) -> list:
    return [leaf for part in parts for leaf in _flat(part)] if isinstance(parts, tuple) else [parts]


def _called(copies: Any) -> Any:
    return tuple(_called(copy) for copy in copies) if isinstance(copies, tuple) else copies()
