"""Loaders of other projects, each written as its own documentation does: JPEG bytes stored as they are, a random crop
of RandomResizedCrop, a flip, and normalisation to float32. They need benchmarks/requirements-peers.txt."""

import os
import random
import re
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path

from benchmarks.contenders import MEAN, PREFETCH, STD, EpochLoader, pil_transform, pytorch_loader, tensor_transform
from benchmarks.loader_process import Job, Loader
from benchmarks.workloads import SMALLER, made_once
from formwork.errors import FormworkError

REQUIREMENTS = Path(__file__).with_name("requirements-peers.txt")
INSTALL = ".venv/bin/pip install --no-deps -r benchmarks/requirements-peers.txt"

LISTED = 3  # packages that an error names
TURBOLOADER, TURBOLOADER_TBL = "TurboLoader", "TurboLoader (TBL)"

SCALE, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)  # of RandomResizedCrop
SHARDS = 16  # of WebDataset, which shares them out to its processes
SHUFFLED = 1000  # images that WebDataset mixes
CHUNK = "64MB"  # of LitData


def check_installed(requirements: Path) -> None:
    """Raises FormworkError: a package of requirements-peers.txt is missing or of another version, or FFmpeg is."""
    pins = re.findall(r"^([\w-]+)==(\S+)", requirements.read_text(encoding="utf-8"), re.MULTILINE)
    wrong = [f"{name} {wanted} ({found})" for name, wanted in pins if (found := _installed(name)) != wanted]
    if wrong:
        raise FormworkError(
            f"--peers: {len(wrong)} of the {len(pins)} packages in benchmarks/{requirements.name} are missing or of "
            f"another version: {', '.join(wrong[:LISTED])}{', ...' if len(wrong) > LISTED else ''}. Run `{INSTALL}`."
        )
    import spdl.io.utils

    try:
        spdl.io.utils.get_ffmpeg_versions()
    except RuntimeError as error:
        raise FormworkError(
            "--peers: SPDL decodes with FFmpeg, whose libraries are missing. Run `apt-get install ffmpeg`, or what "
            "your system has in its place."
        ) from error


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def dali(job: Job, gpu: int | None = None) -> Callable[[], Loader]:
    """On the CPU it decodes no more than the crop needs. It makes batches ahead, of the next epoch, too.

    Args:
        gpu: number of the GPU that decodes, by nvJPEG, and does the rest; images are channels_last then.
    """
    import torch
    from nvidia.dali import fn, pipeline_def, types
    from nvidia.dali.plugin.base_iterator import LastBatchPolicy
    from nvidia.dali.plugin.pytorch import DALIClassificationIterator

    decoder, layout = ("cpu", "CHW") if gpu is None else ("mixed", "HWC")

    @pipeline_def(batch_size=job.batch_size, num_threads=job.workers, device_id=gpu)
    def pipeline():
        jpegs, labels = fn.readers.file(file_root=str(job.files), random_shuffle=True, name="Reader")
        images = fn.decoders.image_random_crop(
            jpegs, device=decoder, output_type=types.RGB, random_area=list(SCALE), random_aspect_ratio=list(RATIO)
        )
        images = fn.resize(images, size=[job.side, job.side], interp_type=types.INTERP_TRIANGULAR)
        images = fn.crop_mirror_normalize(
            images,
            dtype=types.FLOAT,
            output_layout=layout,
            mean=[255 * value for value in MEAN],
            std=[255 * value for value in STD],
            mirror=fn.random.coin_flip(probability=0.5),
        )
        return images, labels

    def images(data: torch.Tensor) -> torch.Tensor:
        return data if layout == "CHW" else data.permute(0, 3, 1, 2)

    def make() -> Loader:
        iterator = DALIClassificationIterator(
            pipeline(), reader_name="Reader", last_batch_policy=LastBatchPolicy.DROP, auto_reset=True
        )
        return EpochLoader(lambda: ((images(batch["data"]), batch["label"].squeeze(-1)) for (batch,) in iterator))

    return make


def spdl(job: Job) -> Callable[[], Loader]:
    """FFmpeg in threads: each image's crop, scaling and flip are a filter of its own."""
    import spdl.io
    import torch
    from spdl.pipeline import PipelineBuilder
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import RandomResizedCrop
    from torchvision.transforms.v2 import Normalize

    normalise = Normalize(MEAN, STD)

    def decode(sample: tuple[str, int]):
        path, label = sample
        packets = spdl.io.demux_image(path)
        size = torch.empty(1, packets.codec.height, packets.codec.width)
        top, left, height, width = RandomResizedCrop.get_params(size, SCALE, RATIO)
        steps = [f"crop={width}:{height}:{left}:{top}", f"scale={job.side}:{job.side}:flags=bilinear"]
        if random.random() < 0.5:
            steps.append("hflip")
        steps.append("format=pix_fmts=rgb24")
        return spdl.io.decode_packets(packets, filter_desc=",".join(steps)), label

    def collate(samples: list) -> tuple[torch.Tensor, torch.Tensor]:
        frames, labels = zip(*samples, strict=True)
        images = spdl.io.to_torch(spdl.io.convert_frames(list(frames)))
        return normalise(images.permute(0, 3, 1, 2).float().div(255)), torch.tensor(labels)

    def make() -> Loader:
        samples = ImageFolder(str(job.files)).samples

        def epoch() -> Iterator:
            pipeline = (
                PipelineBuilder()
                .add_source(random.sample(samples, len(samples)))
                .pipe(decode, concurrency=job.workers)
                .aggregate(job.batch_size, drop_last=True)
                .pipe(collate)
                .add_sink(PREFETCH)
                .build(num_threads=job.workers)
            )
            with pipeline.auto_stop():
                yield from pipeline.get_iterator()

        return EpochLoader(epoch)

    return make


def webdataset(job: Job) -> Callable[[], Loader]:
    """Tar files, decoded by Pillow."""
    import webdataset as wds

    def write(folder: Path) -> None:
        folder.mkdir()
        samples = _samples(job)
        random.Random(0).shuffle(samples)
        with wds.ShardWriter(f"{folder}/%06d.tar", maxcount=-(-len(samples) // SHARDS), verbose=0) as shards:
            for index, (path, label) in enumerate(samples):
                shards.write({"__key__": f"{index:06d}", "jpg": Path(path).read_bytes(), "cls": label})

    urls = sorted(map(str, _converted(job, "webdataset", write).glob("*.tar")))
    transform = pil_transform(job)

    def make() -> Loader:
        dataset = (
            wds.WebDataset(urls, shardshuffle=SHARDS)
            .shuffle(SHUFFLED)
            .decode("pil")
            .to_tuple("jpg", "cls")
            .map_tuple(transform, int)
            .batched(job.batch_size, partial=False)
        )
        return wds.WebLoader(
            dataset, batch_size=None, num_workers=job.workers, persistent_workers=True, prefetch_factor=PREFETCH
        )

    return make


def litdata(job: Job) -> Callable[[], Loader]:
    """Chunks, decoded by torchvision."""
    from litdata import StreamingDataLoader, StreamingDataset, optimize

    def write(folder: Path) -> None:
        optimize(_litdata_sample, _samples(job), str(folder), chunk_bytes=CHUNK, num_workers=job.workers)

    chunks, transform = _converted(job, "litdata", write), partial(_litdata_transform, tensor_transform(job))

    def make() -> Loader:
        dataset = StreamingDataset(str(chunks), shuffle=True, drop_last=True, transform=transform)
        return StreamingDataLoader(
            dataset,
            batch_size=job.batch_size,
            num_workers=job.workers,
            persistent_workers=True,
            prefetch_factor=PREFETCH,
        )

    return make


def _litdata_sample(sample: tuple[str, int]) -> dict:
    from PIL import Image

    path, label = sample
    return {"image": Image.open(path), "label": label}  # LitData stores the bytes of the file


def _litdata_transform(transform: Callable, sample: dict, *_: object):
    return transform(sample["image"]), sample["label"]


def mosaicml(job: Job) -> Callable[[], Loader]:
    """MDS shards, decoded by Pillow."""
    from PIL import Image
    from streaming import MDSWriter, StreamingDataset

    def write(folder: Path) -> None:
        with MDSWriter(out=str(folder), columns={"image": "jpeg", "label": "int"}) as shards:
            for path, label in _samples(job):
                shards.write({"image": Image.open(path), "label": label})  # it stores the bytes of the file

    shards, transform = _converted(job, "mosaicml", write), pil_transform(job)

    class Images(StreamingDataset):
        def __getitem__(self, index: int):
            sample = super().__getitem__(index)
            return transform(sample["image"]), sample["label"]

    return lambda: pytorch_loader(
        Images(local=str(shards), shuffle=True, batch_size=job.batch_size), job, shuffle=False
    )


def turboloader(job: Job) -> Callable[[], Loader]:
    """A tar, whose JPEGs it decodes at the smallest scale of libjpeg-turbo that the crop needs."""
    tar = _tar(job)
    return _turboloader(job, tar, pin_memory=True)  # its ring of buffers, which are pinned where there is CUDA


def turboloader_tbl(job: Job) -> Callable[[], Loader]:
    """Squares of uint8 that it has decoded and stretched beforehand, in its TBL format."""
    tar = _tar(job)

    def write(folder: Path) -> None:
        from turboloader import preprocess_to_tbl

        folder.mkdir()
        preprocess_to_tbl(str(tar), str(folder / "images.tbl"), image_size=SMALLER.max_resolution)

    return _turboloader(job, _converted(job, "tbl", write) / "images.tbl", channels_last=True)


def _turboloader(job: Job, path: Path, **options: bool) -> Callable[[], Loader]:
    """Its threads are as many as cores whatever num_workers is: so the process is held to as many cores as workers."""
    if hasattr(os, "sched_setaffinity"):  # not on macOS
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: job.workers])
    import torch
    from turboloader import DataLoader, ImageNetNormalize

    labels = torch.tensor([label for _, label in _samples(job)])

    def make() -> Loader:
        loader = DataLoader(
            str(path),
            job.batch_size,
            job.workers,
            shuffle=True,
            transform=ImageNetNormalize(),
            image_size=job.side,
            output_format="pytorch",
            drop_last=True,
            prefetch_batches=PREFETCH,
            train_aug=True,
            **options,
        )
        epochs = count()

        def epoch() -> Iterator:
            loader.set_epoch(next(epochs))  # of which the order and the crops are functions
            for images, found in loader:
                images = torch.as_tensor(images)
                if options.get("channels_last"):
                    images = images.permute(0, 3, 1, 2)
                yield images, labels[found["indices"]]

        return EpochLoader(epoch)

    return make


def _tar(job: Job) -> Path:
    """The images in the order of _samples."""

    def write(folder: Path) -> None:
        folder.mkdir()
        with tarfile.open(folder / "images.tar", "w") as tar:
            for index, (path, _) in enumerate(_samples(job)):
                tar.add(path, f"{index:06d}.jpg")

    return _converted(job, "tar", write) / "images.tar"


def _samples(job: Job) -> list[tuple[str, int]]:
    from torchvision.datasets import ImageFolder

    return ImageFolder(str(job.files)).samples


def _converted(job: Job, name: str, write: Callable[[Path], None]) -> Path:
    """The images in a format of the peer's own, which is kept."""
    return made_once(job.folder / f"{name}-{job.files.parent.name}", write)


PEERS = {
    "NVIDIA DALI": dali,
    "SPDL": spdl,
    "WebDataset": webdataset,
    "LitData": litdata,
    "MosaicML Streaming": mosaicml,
    TURBOLOADER: turboloader,
}
PEERS_DECODED = {TURBOLOADER_TBL: turboloader_tbl}
"""Those that are given JPEGs, and those that have them decoded beforehand."""
