"""On a GPU: images/s of training with every loader, against a batch that stays there, and how long the GPU waits."""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from benchmarks import contenders, gpu_feeds
from benchmarks.gpu_feeds import Batches, Feed
from benchmarks.gpu_page import DALI, NVJPEG, OURS, STAYS, Curves, Measured, body
from benchmarks.loader import add_common_arguments, default_workers, folder_of, positive
from benchmarks.loader_page import PIL, STOCK, TORCHVISION
from benchmarks.page import publish
from benchmarks.workloads import WORKLOADS, Prepared, Workload, prepare
from formwork.errors import FormworkError, did_you_mean
from formwork.loading.dtypes import normalise
from formwork.loading.ffcv_loader import FFCVDataLoader
from formwork.system import cores
from formwork.tools.measure import Rates, alternate

MODELS = ("resnet18", "resnet50")
CLASSES = 1000  # outputs of a model, as of ImageNet's
MOST_WORKERS = 16  # of the loader alone
CURVE_STEPS = 20
FEEDS: dict[str, Feed] = {
    STAYS: gpu_feeds.stays,
    OURS: gpu_feeds.formwork,
    STOCK: gpu_feeds.stock_ffcv,
    PIL: gpu_feeds.pytorch(contenders.pytorch_pil),
    TORCHVISION: gpu_feeds.pytorch(contenders.pytorch_torchvision),
    DALI: gpu_feeds.dali,
    NVJPEG: gpu_feeds.decoded_there,
}
DECODING = (DALI, NVJPEG)  # on the GPU: of no use where nothing else is compressed


@dataclass(frozen=True)
class Size:
    """images: of an epoch. side: of an image, in pixels."""

    images: int
    batch_size: int
    side: int

    def of(self, workload: Workload) -> Workload:
        return replace(workload, kind=replace(workload.kind, side=self.side, batch_size=self.batch_size))


SIZES = {"cuda": Size(12_800, 256, 224), "cpu": Size(24, 4, 32)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device",
        choices=SIZES,
        default="cuda",
        help="cpu: every line runs, on a few small images; its figures mean nothing, and nothing is written",
    )
    parser.add_argument("--workers", type=positive, default=cores(), help="threads or processes of each loader")
    parser.add_argument("--models", type=_models, default=MODELS, metavar="resnet18,resnet50", help="of torchvision")
    parser.add_argument("--only", metavar="NAME", help="workloads whose names contain this; nothing is written")
    add_common_arguments(parser)


def _models(text: str) -> tuple[str, ...]:
    wrong = [name for name in text.split(",") if name not in MODELS]
    if wrong:
        raise argparse.ArgumentTypeError(f"{wrong[0]!r} is none of {', '.join(MODELS)}")
    return tuple(text.split(","))


def main(a: argparse.Namespace) -> None:
    if a.device == "cuda" and not torch.cuda.is_available():
        raise FormworkError(
            "--device cuda: torch finds no GPU here. `--device cpu` runs every line of this benchmark without one, on "
            "a few small images."
        )
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # which losses that are the same bit for bit need
    device, size = torch.device(a.device), SIZES[a.device]
    if a.quick and a.device == "cuda":
        size = replace(size, images=size.images // 5)
    chosen = [workload for workload in WORKLOADS[:3] if (a.only or "") in workload.name]
    if not chosen:
        names = [workload.name for workload in WORKLOADS[:3]]
        raise FormworkError(f"--only {a.only}: no such workload. {did_you_mean(a.only, names)}")
    measured = []
    with folder_of(a.folder) as folder:
        for workload in chosen:
            prepared = prepare(size.of(workload), folder, size.images)
            measured.append(measure(prepared, device, a.models, a.workers, a.rounds))
    command = f"python benchmarks/run.py gpu --workers {a.workers} --rounds {a.rounds}"
    on = torch.cuda.get_device_name(device) if a.device == "cuda" else None
    text = body(measured, on, size.batch_size, a.rounds)
    if a.quick or a.only or a.device != "cuda" or a.models != MODELS:
        print(text)
        return
    results = {"gpu": on, "cuda": torch.version.cuda, "workloads": {m.workload: m.results() for m in measured}}
    publish("gpu", command, text, results, a.page, a.results)


def measure(prepared: Prepared, device: torch.device, models: Sequence[str], workers: int, rounds: int) -> Measured:
    """One workload."""
    name, jpegs = prepared.workload.name, prepared.workload.beton.write_mode == "jpg"
    batches: dict[str, Batches] = {}
    left_out: dict[str, str] = {}
    for feed_name, feed in FEEDS.items():
        if feed_name in DECODING and not jpegs:
            continue
        of_files = feed_name not in (OURS, STOCK, STAYS)
        job = prepared.job(workers, resized=of_files and prepared.resized is not None)
        with or_left_out(feed_name, left_out):
            batches[feed_name] = feed(job, device)
    rates: dict[str, dict[str, Rates]] = {}
    waited: dict[str, dict[str, float]] = {}
    for model in models:
        print(f"{name}, {model}: {len(batches)} loaders", file=sys.stderr)
        rates[model], waited[model] = trained(Training(model, device), batches, rounds, left_out)
    counts = default_workers(min(workers, MOST_WORKERS))
    return Measured(name, workers, rates, waited, left_out, alone(prepared, counts, rounds), curves(prepared, device))


class Training:
    """A network in bf16 and channels_last, and steps of it."""

    def __init__(self, model: str, device: torch.device):
        from torchvision import models

        torch.manual_seed(0)
        network = models.get_model(model, num_classes=CLASSES)
        self.network: nn.Module = network.to(device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=0.01, momentum=0.9)
        self.device = device

    def step(self, images: Tensor, labels: Tensor) -> Tensor:
        """The loss, on the device."""
        with torch.autocast(self.device.type, torch.bfloat16):
            loss = nn.functional.cross_entropy(self.network(images), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()


class Marks:
    """Moments of a device's work, which nobody waits for before the end."""

    def __init__(self, device: torch.device):
        self.events: list[torch.cuda.Event] | None = [] if device.type == "cuda" else None
        self.times: list[float] = []

    def mark(self) -> None:
        if self.events is None:
            self.times.append(time.perf_counter())
            return
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        self.events.append(event)

    def seconds(self) -> list[float]:
        """From each moment to the next."""
        if self.events is None:
            return [end - start for start, end in pairwise(self.times)]
        torch.cuda.synchronize()
        return [start.elapsed_time(end) / 1000 for start, end in pairwise(self.events)]


def epoch(name: str, training: Training, batches: Batches) -> tuple[float, float]:
    """Images/s of the steps after the first, and the share of their time in which the device had no step to compute."""
    marks, count, first = Marks(training.device), 0, 0
    for images, labels in batches:
        marks.mark()
        if not first:
            _check(name, images, labels, training.device)
        training.step(images, labels)
        marks.mark()
        count += len(labels)
        first = first or count
    spans = marks.seconds()[1:]  # a gap, a step, a gap, a step, ...
    if not spans:
        raise FormworkError("An epoch of less than two steps cannot be measured.")
    return (count - first) / sum(spans), sum(spans[::2]) / sum(spans)


def _check(name: str, images: Tensor, labels: Tensor, device: torch.device) -> None:
    """Raises FormworkError: batches are not what a step is given by all others."""
    kind = images.dtype, images.device.type, labels.dtype, labels.device.type
    if kind != (torch.float32, device.type, torch.int64, device.type) or not images.is_contiguous(
        memory_format=torch.channels_last
    ):
        raise FormworkError(f"{name} gives {kind} of strides {images.stride()}: its images/s cannot be compared.")


def trained(
    training: Training, batches: Mapping[str, Batches], rounds: int, left_out: dict[str, str]
) -> tuple[dict[str, Rates], dict[str, float]]:
    """Images/s and share of waiting (median) by loader: epochs in turn, after one of each to warm up.

    Args:
        left_out: see or_left_out.
    """
    torch.backends.cudnn.benchmark = True
    for name, loader in batches.items():
        if name not in left_out:
            with or_left_out(name, left_out):
                epoch(name, training, loader)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in batches if name not in left_out}
    for _ in range(rounds):
        for name, epochs in found.items():
            epochs.append(epoch(name, training, batches[name]))
    rates = {name: Rates(tuple(rate for rate, _ in epochs)) for name, epochs in found.items()}
    return rates, {name: statistics.median(share for _, share in epochs) for name, epochs in found.items()}


@contextmanager
def or_left_out(name: str, left_out: dict[str, str]) -> Iterator[None]:
    """Put an error of a loader of others into `left_out`: what it needs may be missing, or not suit this machine."""
    try:
        yield
    except FormworkError:
        raise
    except Exception as error:
        if name in (OURS, STAYS):
            raise
        reason = str(error).strip().partition("\n")[0]
        left_out[name] = f"{type(error).__name__}: {reason}"
        print(f"{name} is left out: {left_out[name]}", file=sys.stderr)


def alone(prepared: Prepared, counts: Sequence[int], rounds: int) -> dict[int, Rates]:
    """Images/s of FFCVDataLoader consumed by an empty loop, by workers, as uint8, which a GPU is given."""

    def consume(loader: FFCVDataLoader) -> int:
        return sum(len(labels) for _, labels in loader)

    loaders = {}
    for workers in counts:
        split, config = contenders.formwork_parts(prepared.job(workers))
        loaders[workers] = FFCVDataLoader(split, replace(config, dtype="uint8"))
    rates = alternate({str(workers): partial(consume, loader) for workers, loader in loaders.items()}, rounds)
    return {int(workers): rate for workers, rate in rates.items()}


def curves(prepared: Prepared, device: torch.device, steps: int = CURVE_STEPS) -> Curves:
    """Two trainings that differ by where images are normalised: by the kernels, and on the device."""
    split, config = contenders.formwork_parts(prepared.job(workers=1))
    by_kernels = FFCVDataLoader(split, config)
    if device.type == "cuda":
        there: Iterable = FFCVDataLoader(split, replace(config, device=device))
    else:
        pixels = FFCVDataLoader(split, replace(config, dtype="uint8"))
        there = ((normalise(images, config.normal), labels) for images, labels in pixels)
    torch.backends.cudnn.benchmark = False
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    trainings = Training(MODELS[0], device), Training(MODELS[0], device)
    losses: tuple[list[Tensor], list[Tensor]] = ([], [])
    same = 0
    try:
        for _, batches in zip(range(steps), zip(by_kernels, there, strict=True), strict=False):
            both = [(images.to(device), labels.to(device)) for images, labels in batches]
            same += torch.equal(both[0][0], both[1][0])
            for training, found, (images, labels) in zip(trainings, losses, both, strict=True):
                found.append(training.step(images, labels))
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
    return Curves(same, *(torch.stack(found).tolist() for found in losses))
