"""Accuracy: the same training with either loader, over several seeds, where stored pixels differ from the originals."""

import argparse
import json
import math
import statistics
import tempfile
from pathlib import Path

from benchmarks.page import add_page_arguments, publish
from formwork.conversion.write import write_beton
from formwork.datasets.link import link
from formwork.folders import Folders
from formwork.images.manifest import TRAINING, read_manifest
from formwork.params import Params
from formwork.sources.synthetic import write_photos
from formwork.system import cores
from formwork.text import table
from formwork.training.fit import train

CLASSES = 10
LOADERS = {"FFCVDataLoader": True, "PyTorchDataLoader": False}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=int, default=5, help="trainings with each loader, at least 2")
    parser.add_argument("--images", type=int, default=1500, help="photos, a fifth of them for validation")
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--resolution", type=int, default=64, help="side of the training images in pixels")
    parser.add_argument("--quick", action="store_true", help="2 seeds of 1 epoch on 100 images; nothing is written")
    add_page_arguments(parser)


def main(arguments: argparse.Namespace) -> None:
    if arguments.quick:
        arguments.seeds, arguments.images, arguments.epochs = 2, 100, 1
    with tempfile.TemporaryDirectory(prefix="bench-accuracy-") as folder:
        found = measure(Path(folder), arguments.seeds, arguments.images, arguments.epochs, arguments.resolution)
    text = describe(found, arguments)
    if arguments.quick:
        print(text)
        return
    command = (
        f"python benchmarks/run.py accuracy --seeds {arguments.seeds} --images {arguments.images} "
        f"--epochs {arguments.epochs} --resolution {arguments.resolution}"
    )
    publish("accuracy", command, text, {"accuracy": found}, arguments.page, arguments.results)


def measure(root: Path, seeds: int, images: int, epochs: int, resolution: int) -> dict[str, list[float]]:
    """The accuracy on the validation split after the last epoch, by loader, for each seed."""
    folders = Folders(*(root / name for name in ("raw", "interim", "processed")))
    params = _params(0, True, epochs, resolution)
    write_photos(folders.raw, images, CLASSES, 0, cores())
    link(params, folders.raw, folders.interim, root / "findings.csv")
    for split in TRAINING:
        manifest = read_manifest(folders.interim / f"{split}.csv")
        write_beton(manifest, folders.raw, folders.processed / f"{split}.beton", params.ffcv.beton, workers=2)
    found: dict[str, list[float]] = {name: [] for name in LOADERS}
    for seed in range(seeds):
        for name, use_ffcv in LOADERS.items():
            out = root / f"{name}{seed}"
            train(_params(seed, use_ffcv, epochs, resolution), folders, out / "best.pt", out / "train", out / "speed")
            found[name].append(json.loads((out / "train/metrics.json").read_text())["val"]["accuracy"])
    return found


def _params(seed: int, use_ffcv: bool, epochs: int, resolution: int) -> Params:
    crop: list[dict[str, dict]] = [{"RandomResizedCrop": {}}, {"RandomHorizontalFlip": {}}]
    return Params.model_validate(
        {
            "data": {"name": "synthetic", "use_ffcv": use_ffcv, "batch_size": 32, "split": {"test": 0}},
            "ffcv": {"fallback": "error", "beton": {"write_mode": "jpg", "max_resolution": 256}},
            "augment": {"train": crop, "val": [{"CenterCrop": {"ratio": 0.875}}]},
            "model": {"name": "resnet18"},
            "train": {"lr": 0.001},
            "trainer": {"max_epochs": epochs, "checkpoint_minutes": None},
            "seed": seed,
            "datasets": {"synthetic": {"resolution": resolution}},
        }
    )


def describe(found: dict[str, list[float]], arguments: argparse.Namespace) -> str:
    """Markdown."""
    ours, theirs = (found[name] for name in LOADERS)
    rows = [[str(seed), f"{a:.1%}", f"{b:.1%}"] for seed, (a, b) in enumerate(zip(ours, theirs, strict=True))]
    rows.append(["mean ± standard deviation", *map(_spread, (ours, theirs))])
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    return (
        f"`resnet18` on `synthetic`, {arguments.images} photos at {arguments.resolution} pixels, {arguments.epochs} "
        "epochs: accuracy on the validation split. The beton holds photos scaled to 256 pixels, as JPEG of quality 90; "
        "the PyTorch loader reads the originals. For one seed, first weights, order, crops and flips are the same.\n\n"
        f"{table(['seed', *LOADERS], rows)}\n\n"
        f"Mean difference {100 * statistics.mean(differences):+.2f} points, standard error {100 * error:.2f}."
    )


def _spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.1%} ± {statistics.stdev(values):.1%}"
