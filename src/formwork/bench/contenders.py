"""The loaders that are compared, each in a process of its own, so that none changes another's threads or memory.

Such a process prints a line when it is ready, and then one for each epoch that it is asked for: the images loaded.
"""

import ctypes
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def formwork_loader(ffcv: bool, folder: Path, beton: Path, side: int, batch: int, workers: int) -> Callable[[], int]:
    from formwork.datasets.manifest import read_manifest
    from formwork.loading.augment import Augmentation
    from formwork.loading.common import Options, Split
    from formwork.loading.make import make_loader

    operations = [{"RandomHorizontalFlip": {}}]
    if side == 224:
        operations.insert(0, {"RandomResizedCrop": {}})
    else:
        operations[:0] = [{"Resize": {}}, {"RandomCrop": {"padding": 4}}]
    options = Options(
        Augmentation(operations, side, 0), MEAN, STD, batch, order="random", num_workers=workers, drop_last=True
    )
    split = Split("train", read_manifest(folder / "train.csv"), beton, folder / "raw")
    loader = make_loader(split, options, use_ffcv=ffcv, fallback="error")
    return lambda: sum(len(labels) for _, labels in loader)


def pytorch_pil(folder: Path, beton: Path, side: int, batch: int, workers: int) -> Callable[[], int]:
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    crop = transforms.RandomResizedCrop(224) if side == 224 else transforms.RandomCrop(side, padding=4)
    steps = [crop, transforms.RandomHorizontalFlip(), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    images = datasets.ImageFolder(str(folder / "raw/train"), transforms.Compose(steps))
    loader = DataLoader(
        images, batch, shuffle=True, num_workers=workers, drop_last=True, persistent_workers=True, prefetch_factor=4
    )
    return lambda: sum(len(labels) for _, labels in loader)


def stock_ffcv(folder: Path, beton: Path, side: int, batch: int, workers: int) -> Callable[[], int]:
    from ffcv.fields.decoders import IntDecoder, RandomResizedCropRGBImageDecoder, SimpleRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import NormalizeImage, RandomHorizontalFlip, RandomTranslate, Squeeze, ToTensor, ToTorchImage

    start = (
        [RandomResizedCropRGBImageDecoder((224, 224)), RandomHorizontalFlip()]
        if side == 224
        else [SimpleRGBImageDecoder(), RandomHorizontalFlip(), RandomTranslate(padding=4)]
    )
    normalise = NormalizeImage(np.array(MEAN) * 255, np.array(STD) * 255, np.float32)
    # NormalizeImage works on NumPy arrays here, so it stands before the change to a tensor.
    pipelines = {
        "image": [*start, normalise, ToTensor(), ToTorchImage(convert_back_int16=False)],
        "label": [IntDecoder(), ToTensor(), Squeeze()],
    }
    loader = Loader(
        str(beton), batch, num_workers=workers, order=OrderOption.RANDOM, os_cache=True, pipelines=pipelines
    )
    return lambda: sum(len(labels) for _, labels in loader)


def bare_libjpeg(folder: Path, beton: Path, side: int, batch: int, workers: int) -> Callable[[], int]:
    """Decoding the beton's JPEGs and nothing else: the limit that libjpeg-turbo sets."""
    import ffcv._libffcv

    from formwork.beton.read import open_beton
    from formwork.loading.kernels import ACCURATE_DCT

    library = ctypes.CDLL(ffcv._libffcv.__file__)
    library.tjInitDecompress.restype = ctypes.c_void_p
    pointer, number = ctypes.c_void_p, ctypes.c_int
    library.tjDecompress2.argtypes = [pointer, pointer, ctypes.c_ulong, pointer, *[number] * 5]
    library.tjDestroy.argtypes = [pointer]
    table = open_beton(beton)
    memory = np.memmap(beton, np.uint8, "r")

    def decode(start: int) -> None:
        handle = library.tjInitDecompress()
        pixels = np.empty(int((table.heights * table.widths).max()) * 3, np.uint8)
        for i in range(start, len(table), workers):
            library.tjDecompress2(
                handle, memory.ctypes.data + int(table.offsets[i]), int(table.sizes[i]), pixels.ctypes.data,
                int(table.widths[i]), 0, int(table.heights[i]), 0, ACCURATE_DCT,
            )  # fmt: skip
        library.tjDestroy(handle)

    def epoch() -> int:
        threads = [threading.Thread(target=decode, args=(start,)) for start in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len(table)

    return epoch


CONTENDERS: dict[str, Callable[..., Callable[[], int]]] = {
    "PyTorch DataLoader": pytorch_pil,
    "stock FFCV": stock_ffcv,
    "PyTorchDataLoader": lambda *arguments: formwork_loader(False, *arguments),
    "FFCVDataLoader": lambda *arguments: formwork_loader(True, *arguments),
    "libjpeg-turbo": bare_libjpeg,
}


def main() -> None:
    """Arguments: contender, folder, beton, side, batch size, workers."""
    name, folder, beton, side, batch, workers = sys.argv[1:]
    # What loaders print must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    epoch = CONTENDERS[name](Path(folder), Path(beton), int(side), int(batch), int(workers))
    print("ready", file=answers)
    for _ in sys.stdin:
        print(epoch(), file=answers)


if __name__ == "__main__":
    main()
