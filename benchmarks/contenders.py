"""The loaders that are compared: each a benchmarks.loader_process.Load that gives normalised float32 (B, 3, H, W)."""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.loader_process import Job, Loader

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PADDING = 4  # pixels, of RandomCrop
PREFETCH = 4  # batches that each process of a DataLoader makes ahead


# --- Formwork -----------------------------------------------------------------------------------


def formwork_ffcv(job: Job) -> Callable[[], Loader]:
    from formwork.loading.ffcv_loader import FFCVDataLoader

    split, config = formwork_parts(job)
    return lambda: FFCVDataLoader(split, config)


def formwork_pytorch(job: Job) -> Callable[[], Loader]:
    from formwork.loading.pytorch_loader import PyTorchDataLoader

    split, config = formwork_parts(job)
    return lambda: PyTorchDataLoader(split, config)


def formwork_parts(job: Job):
    """(SplitFiles, LoaderConfig) of both."""
    from formwork.images.manifest import read_manifest
    from formwork.loading.augmentation.augmentation import Augmentation
    from formwork.loading.base import LoaderConfig, SplitFiles

    operations: dict[str, list[dict[str, dict[str, Any]]]] = {
        "RandomResizedCrop": [{"RandomResizedCrop": {}}, {"RandomHorizontalFlip": {}}],
        "RandomCrop": [{"CenterCrop": {}}, {"RandomCrop": {"padding": PADDING}}, {"RandomHorizontalFlip": {}}],
    }
    augmentation = Augmentation(operations[job.crop], job.side, seed=0)
    split = SplitFiles("train", read_manifest(job.folder / "train.csv"), job.beton, job.folder / "raw")
    config = LoaderConfig(
        augmentation,
        MEAN,
        STD,
        job.batch_size,
        order="random",
        drop_last=True,
        num_workers=job.workers,
        timesteps=job.timesteps,
        other_views=(augmentation,) * (job.views - 1),
    )
    return split, config


# --- PyTorch ------------------------------------------------------------------------------------


def pytorch_pil(job: Job) -> Callable[[], Loader]:
    """ImageFolder and transforms, as PyTorch's ImageNet example has them."""
    from torchvision import datasets

    transform = pil_transform(job)
    return lambda: pytorch_loader(datasets.ImageFolder(str(job.files), transform), job)


def pytorch_torchvision(job: Job) -> Callable[[], Loader]:
    """Decoded by torchvision to uint8 tensors, which transforms.v2 work on."""
    from torchvision import datasets
    from torchvision.io import decode_image

    transform = tensor_transform(job)

    def read(path: str):
        return decode_image(path, mode="RGB")  # by decode_jpeg or decode_png

    return lambda: pytorch_loader(datasets.ImageFolder(str(job.files), transform, loader=read), job)


def pil_transform(job: Job):
    from torchvision import transforms

    crop = {
        "RandomResizedCrop": transforms.RandomResizedCrop(job.side),
        "RandomCrop": transforms.RandomCrop(job.side, padding=PADDING),
    }[job.crop]
    return transforms.Compose(
        [crop, transforms.RandomHorizontalFlip(), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    )


def tensor_transform(job: Job):
    import torch
    from torchvision.transforms import v2

    crop = {
        "RandomResizedCrop": v2.RandomResizedCrop(job.side, antialias=True),
        "RandomCrop": v2.RandomCrop(job.side, padding=PADDING),
    }[job.crop]
    return v2.Compose([crop, v2.RandomHorizontalFlip(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])


def pytorch_loader(dataset, job: Job, shuffle: bool = True) -> Loader:
    from torch.utils.data import DataLoader

    return DataLoader(
        dataset,
        job.batch_size,
        shuffle,
        num_workers=job.workers,
        drop_last=True,
        persistent_workers=True,
        prefetch_factor=PREFETCH,
    )


# --- FFCV ---------------------------------------------------------------------------------------


def stock_ffcv(job: Job) -> Callable[[], Loader]:
    """FFCV's own Loader, as it comes."""
    from ffcv import transforms

    image = [
        # On the CPU it works on NumPy arrays, so it stands before the change to a tensor.
        transforms.NormalizeImage(np.array(MEAN) * 255, np.array(STD) * 255, np.float32),
        transforms.ToTensor(),
        transforms.ToTorchImage(convert_back_int16=False),
    ]
    return lambda: stock_loader(job, image)


def stock_loader(job: Job, image: Sequence, label: Sequence = ()) -> Loader:
    """image, label: what FFCV does to images after crop and flip, and to labels once they are tensors."""
    from ffcv import transforms
    from ffcv.fields import decoders
    from ffcv.loader import Loader as StockLoader
    from ffcv.loader import OrderOption

    crop_and_flip = {
        "RandomResizedCrop": [
            decoders.RandomResizedCropRGBImageDecoder((job.side, job.side)),
            transforms.RandomHorizontalFlip(),
        ],
        "RandomCrop": [
            decoders.SimpleRGBImageDecoder(),
            transforms.RandomHorizontalFlip(),
            transforms.RandomTranslate(padding=PADDING),
        ],
    }[job.crop]
    return StockLoader(
        str(job.beton),
        job.batch_size,
        num_workers=job.workers,
        order=OrderOption.RANDOM,
        os_cache=True,
        drop_last=True,
        pipelines={
            "image": [*crop_and_flip, *image],
            "label": [decoders.IntDecoder(), transforms.ToTensor(), transforms.Squeeze(), *label],
        },
    )


def bare_libjpeg(job: Job) -> Callable[[], Loader]:
    """Decodes the beton's JPEGs and does nothing else: what a loader that decodes with libjpeg-turbo cannot exceed."""
    from formwork.beton.read import open_beton
    from formwork.kernels import libjpeg

    library, table = libjpeg.library(), open_beton(job.beton)
    memory = np.memmap(job.beton, np.uint8, "r")
    assert library is not None, "libjpeg-turbo is not found"

    def decode(start: int) -> None:
        handle = library.tjInitDecompress()
        pixels = np.empty(int((table.heights * table.widths).max()) * 3, np.uint8)
        for i in range(start, len(table), job.workers):
            library.tjDecompress2(
                handle, memory.ctypes.data + int(table.offsets[i]), int(table.sizes[i]), pixels.ctypes.data,
                int(table.widths[i]), 0, int(table.heights[i]), libjpeg.RGB, libjpeg.ACCURATE_DCT,
            )  # fmt: skip
        library.tjDestroy(handle)

    def epoch() -> Iterator[tuple[None, np.ndarray]]:
        threads = [threading.Thread(target=decode, args=(start,)) for start in range(job.workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        yield None, table.labels

    return lambda: EpochLoader(epoch)


class EpochLoader:
    """A loader made of a function that gives the batches of an epoch."""

    def __init__(self, epoch: Callable[[], Iterator]):
        self.epoch = epoch

    def __iter__(self) -> Iterator:
        return self.epoch()
