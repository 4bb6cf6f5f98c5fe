"""What a training on a GPU is fed by: each gives an epoch of normalised float32 images (B, 3, H, W), channels_last, and
of int64 labels, both on the device, each time that it is iterated over. On the CPU each does the same there."""

import random
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import torch
from torch import Tensor

from benchmarks import contenders, peers
from benchmarks.contenders import MEAN, STD, EpochLoader
from benchmarks.loader_process import Job, Load
from benchmarks.peers import RATIO, SCALE
from formwork.images.manifest import read_manifest
from formwork.loading.dtypes import normalise, shift_and_scale
from formwork.parallel import in_order

Batches = Iterable[tuple[Tensor, Tensor]]
Feed = Callable[[Job, torch.device], Batches]
BATCHES_READ_AHEAD = 4


def formwork(job: Job, device: torch.device) -> Batches:
    """FFCVDataLoader, as `train` has it: pinned memory, a stream of its own, one batch ahead, normalised there."""
    from formwork.loading.ffcv_loader import FFCVDataLoader

    split, config = contenders.formwork_parts(job)
    return FFCVDataLoader(split, replace(config, device=device))


def pytorch(load: Load) -> Feed:
    """A DataLoader that pins its batches, which are copied as PyTorch's ImageNet example does."""

    def feed(job: Job, device: torch.device) -> Batches:
        loader = load(job)()
        loader.pin_memory = device.type == "cuda"

        def epoch() -> Iterator[tuple[Tensor, Tensor]]:
            for images, labels in loader:
                assert images is not None
                on_device = images.to(device, non_blocking=True, memory_format=torch.channels_last)
                yield on_device, labels.to(device, non_blocking=True)

        return EpochLoader(epoch)

    return feed


def stock_ffcv(job: Job, device: torch.device) -> Batches:
    """FFCV's own Loader brings uint8 to the device; its normalisation there needs cupy and does the same as this."""
    from formwork.loading.ffcv import import_ffcv  # noqa: F401  # before ffcv, which would change numba's types

    from ffcv import transforms  # isort: skip

    to_device = transforms.ToDevice(device, non_blocking=True)
    image = [transforms.ToTensor(), to_device, transforms.ToTorchImage(convert_back_int16=False)]
    loader = contenders.stock_loader(job, image, [transforms.ToDevice(device, non_blocking=True)])
    normal = _normal(device)
    return EpochLoader(lambda: ((normalise(images, normal), labels) for images, labels in loader))


def dali(job: Job, device: torch.device) -> Batches:
    """DALI decodes on the GPU, by nvJPEG, and crops, scales and normalises there; on the CPU all of it."""
    loader = peers.dali(job, (device.index or 0) if device.type == "cuda" else None)()
    return EpochLoader(
        lambda: ((_last(images), labels.to(device).long()) for images, labels in loader if images is not None)
    )


def decoded_there(job: Job, device: torch.device) -> Batches:
    """Files that threads read; torchvision decodes each batch on the GPU, by nvJPEG, and crops and scales there.

    Pixels are not those of libjpeg-turbo: nvJPEG transforms and upsamples otherwise.
    """
    from torchvision.datasets import ImageFolder
    from torchvision.io import decode_jpeg, read_file
    from torchvision.transforms import RandomResizedCrop
    from torchvision.transforms.v2.functional import resized_crop

    samples, normal, size = ImageFolder(str(job.files)).samples, _normal(device), [job.side, job.side]

    def read(batch: list[tuple[str, int]]) -> list[Tensor]:
        return [read_file(path) for path, _ in batch]

    def crop(image: Tensor) -> Tensor:
        top, left, height, width = RandomResizedCrop.get_params(image, list(SCALE), list(RATIO))
        return resized_crop(image, top, left, height, width, size, antialias=True)

    def epoch() -> Iterator[tuple[Tensor, Tensor]]:
        order = random.sample(samples, len(samples))
        batches = [order[start : start + job.batch_size] for start in range(0, len(order), job.batch_size)]
        whole = [batch for batch in batches if len(batch) == job.batch_size]
        with ThreadPoolExecutor(job.workers) as pool:
            for batch, files in in_order(pool, read, whole, BATCHES_READ_AHEAD, always=BATCHES_READ_AHEAD):
                images = torch.stack([crop(image) for image in decode_jpeg(files, mode="RGB", device=device)])
                flipped = torch.rand(len(images), 1, 1, 1, device=device) < 0.5
                images = torch.where(flipped, images.flip(-1), images)
                labels = torch.tensor([label for _, label in batch], device=device)
                yield _last(normalise(images, normal)), labels

    return EpochLoader(epoch)


def stays(job: Job, device: torch.device) -> Batches:
    """One batch that is on the device: what no loader can exceed."""
    images = _last(torch.randn(job.batch_size, 3, job.side, job.side, device=device))
    labels = torch.arange(job.batch_size, device=device) % 10
    count = len(read_manifest(job.folder / "train.csv")) // job.batch_size
    return EpochLoader(lambda: iter([(images, labels)] * count))


def _normal(device: torch.device) -> Tensor:
    return torch.from_numpy(shift_and_scale(MEAN, STD)).to(device)


def _last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)
