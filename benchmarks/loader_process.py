"""A contender in a process of its own, so that none changes another's threads, memory or compiled code.

The process says when everything is imported and ready to load. Then it answers each line that it is given: `first` with
a First, of a loader made for it; `epoch` with an Epoch, of a loader that is kept.
"""

import importlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.page import ROOT
from formwork.errors import FormworkError, run
from formwork.processes import end_group

if TYPE_CHECKING:
    import torch

ANSWER_SECONDS = 900  # for any answer; a compilation or an epoch takes a tenth of it on two cores
EXIT_SECONDS = 10


@dataclass(frozen=True)
class Job:
    """What a contender loads, and how.

    Attributes:
        folder: of the dataset: raw/, train.csv and what contenders prepare.
        files: the images as <class>/<file>, for those that read files.
        beton: for those that read one.
        crop: RandomResizedCrop, or RandomCrop with a padding of PADDING pixels.
        side: of the output, pixels.
        workers: threads or processes.
        timesteps: T of formwork.loading.base.Batch.
        views: of each image, for ours.
    """

    folder: Path
    files: Path
    beton: Path
    crop: str
    side: int
    batch_size: int
    workers: int
    timesteps: int = 1
    views: int = 1

    def dump(self) -> str:
        return json.dumps(asdict(self), default=str)

    @classmethod
    def load(cls, text: str) -> "Job":
        values = json.loads(text)
        return cls(**values | {name: Path(values[name]) for name in ("folder", "files", "beton")})


Loader = Iterable[tuple["torch.Tensor | None", "torch.Tensor"]]
"""Gives an epoch of (images, labels) each time that it is iterated over; no images where they are not kept."""

Load = Callable[[Job], Callable[[], Loader]]
"""A contender: imports and prepares all that it needs, and gives a function that makes its loader. A function of a
module, which another process finds by its name."""


@dataclass(frozen=True)
class First:
    """seconds: from making a loader to its first batch. lowest, highest: value in its images."""

    seconds: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class Epoch:
    """The images of an epoch, and its first batch: shape, type and layout of the images, and bytes of their memory.

    figures: what the loader tells of the epoch, in an attribute of this name.
    """

    images: int
    shape: list[int]
    dtype: str
    layout: str
    bytes: int
    figures: dict[str, float] = field(default_factory=dict)


class LoaderProcess:
    """`with LoaderProcess(...) as process:` a contender that is ready to load.

    Args:
        name: for errors.
        environment: variables that are set in the process.

    Raises:
        FormworkError: the process ended, with what it said last; or did not answer in ANSWER_SECONDS.
    """

    def __init__(self, name: str, load: Load, job: Job, environment: Mapping[str, str] | None = None):
        self.name = name
        self.log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 (closed by _kill)
        self.process: subprocess.Popen[bytes] = subprocess.Popen(
            [sys.executable, "-m", __name__, load.__module__, load.__qualname__, job.dump()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            bufsize=0,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **(environment or {})},
            start_new_session=True,  # so that its own processes can be ended with it
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._questions, self._answers = self.process.stdin, self.process.stdout

    def __enter__(self) -> "LoaderProcess":
        try:
            self._answer()
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(self, error: type | None, *_: object) -> None:
        self._questions.close()
        if error is None:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(EXIT_SECONDS)
        self._kill()

    def first(self) -> First:
        return First(**self._ask("first"))

    def epoch(self) -> Epoch:
        return Epoch(**self._ask("epoch"))

    def _ask(self, question: str):
        with suppress(BrokenPipeError):  # its end is found out while waiting for the answer
            self._questions.write(f"{question}\n".encode())
        return json.loads(self._answer())

    def _answer(self) -> bytes:
        ready, _, _ = select.select([self._answers], [], [], ANSWER_SECONDS)
        if not ready:
            raise FormworkError(f"{self.name} did not answer for {ANSWER_SECONDS} s.{self._said()}")
        line = self._answers.readline()
        if not line:
            with suppress(subprocess.TimeoutExpired):  # what it says last may come after its last answer
                self.process.wait(EXIT_SECONDS)
            raise FormworkError(f"The process of {self.name} ended.{self._said()}")
        return line

    def _said(self) -> str:
        self.log.seek(0)
        lines = self.log.read().splitlines()[-15:]
        return "\n".join([" It said last:", *lines]) if lines else ""

    def _kill(self) -> None:
        end_group(self.process)  # and the processes that it started
        for file in (self._questions, self._answers, self.log):
            file.close()


def main() -> None:
    """Arguments: module and name of a contender, its job."""
    module, name, job = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what loaders print must not be taken for an answer
    make = getattr(importlib.import_module(module), name)(Job.load(job))
    print("ready", file=answers)
    loader = None
    for question in sys.stdin:
        answer: First | Epoch
        if question == "first\n":
            answer = load_first(make)
        else:
            loader = make() if loader is None else loader
            answer = run_epoch(loader)
        print(json.dumps(asdict(answer)), file=answers)


def load_first(make: Callable[[], Loader]) -> First:
    start = time.perf_counter()
    batches = iter(make())
    images, _ = next(batches)
    assert images is not None
    seconds = time.perf_counter() - start  # before the iterator goes, which ends its threads
    return First(seconds, images.min().item(), images.max().item())


def run_epoch(loader: Loader) -> Epoch:
    count, first = 0, None
    for images, labels in loader:
        if first is None:
            first = _described(images)
        count += len(labels)
    return Epoch(count, *(first or _described(None)), getattr(loader, "figures", {}))


def _described(images: "torch.Tensor | None") -> tuple[list[int], str, str, int]:
    if images is None:
        return [], "", "", 0
    import torch

    frame = images if images.dim() == 4 else images[:, 0]  # the timesteps are alike
    channels_last = frame.is_contiguous(memory_format=torch.channels_last) and not frame.is_contiguous()
    layout = "channels_last" if channels_last else "contiguous"
    return list(images.shape), str(images.dtype).removeprefix("torch."), layout, images.untyped_storage().nbytes()


if __name__ == "__main__":
    run(main)
