"""Manifests: time and memory of reading one, its tree of links after a change, and memory of loader workers."""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
from PIL import Image

from benchmarks.page import add_page_arguments, publish
from formwork.images.manifest import Manifest, read_manifest, write_columns
from formwork.interim.tree import ensure_tree
from formwork.loading.augmentation.augmentation import Augmentation
from formwork.loading.base import LoaderConfig, SplitFiles
from formwork.loading.pytorch_loader import PyTorchDataLoader
from formwork.text import table

CLASSES = 1000
CHANGED = 0.01  # of the rows: half of them removed, and as many added
FEW = 20_000  # rows, for what a worker holds beside the manifest; loaded before its memory is read


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=1_281_167, help="of the manifest that is read")
    parser.add_argument("--links", type=int, default=200_000, help="rows of the tree, and of the loader's manifest")
    add_page_arguments(parser)


def main(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results = {
            "read": _read(folder, arguments.rows),
            "tree": _tree(folder, arguments.links),
            "worker_bytes_per_row": {
                method: (_worker(folder, arguments.links, method) - _worker(folder, FEW, method))
                / (arguments.links - FEW)
                for method in ("fork", "forkserver", "spawn")
            },
        }
    publish(
        "manifest", "python benchmarks/run.py manifest", _body(arguments, results), results, arguments.page,
        arguments.results,
    )  # fmt: skip


def _body(arguments: argparse.Namespace, results: dict) -> str:
    read, tree, workers = results["read"], results["tree"], results["worker_bytes_per_row"]
    whole = tree["made"]
    links = table(
        ["tree of links", "CPU s", "of making it"],
        [[what, f"{seconds:.2f}", f"{seconds / whole:.1%}"] for what, seconds in tree.items()],
    )
    held = ", ".join(f"{size:.0f} ({method})" for method, size in workers.items())
    return (
        f"A manifest of {arguments.rows:,} rows is read in {read['cpu_seconds']:.2f} CPU s, and holds "
        f"{read['bytes_per_row']:.0f} bytes a row of the process's own memory. A worker process of PyTorchDataLoader "
        f"holds, in bytes a row of {arguments.links:,}, by how it is started: {held}.\n\n{links}\n\nThe tree has "
        f"{arguments.links:,} links; {CHANGED:.0%} of its rows were changed."
    )


def _read(folder: Path, rows: int) -> dict[str, float]:
    path = _write(folder / "read.csv", np.arange(rows)).path
    read_manifest(_write(folder / "small.csv", np.arange(FEW)).path)  # code that is loaded once
    before, start = _own_bytes(os.getpid()), time.process_time()
    manifest = read_manifest(path)
    seconds = time.process_time() - start
    return {"cpu_seconds": seconds, "bytes_per_row": (_own_bytes(os.getpid()) - before) / len(manifest)}


def _tree(folder: Path, rows: int) -> dict[str, float]:
    """CPU seconds of each step."""
    rng, ids, raw = np.random.default_rng(0), np.arange(0, 2 * rows, 2), folder / "raw"
    (raw / _path(0)).parent.mkdir(parents=True)
    (raw / _path(0)).touch()
    seconds = {}
    for step in ("made", "nothing changed", f"{CHANGED:.0%} changed"):
        if step.endswith("% changed"):
            kept = np.setdiff1d(ids, rng.choice(ids[1:], int(rows * CHANGED / 2), replace=False))
            ids = np.union1d(kept, rng.choice(ids, int(rows * CHANGED / 2), replace=False) + 1)
        manifest = _write(folder / "tree.csv", ids)
        start = time.process_time()
        ensure_tree(manifest, raw)
        seconds[step] = time.process_time() - start
    return seconds


def _worker(folder: Path, rows: int, method: str) -> int:
    """Bytes of its own that a worker holds after it has loaded some batches."""
    ids, raw = np.arange(rows), folder / f"{method} {rows}"
    raw.mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(raw / "image.png")
    for place in ids.tolist():
        (raw / _path(place)).parent.mkdir(exist_ok=True)
        os.link(raw / "image.png", raw / _path(place))
    manifest = _write(raw / "train.csv", ids, side=8)
    names = tuple(f"n{label:08d}" for label in range(CLASSES))
    config = LoaderConfig(
        augmentation=Augmentation([{"CenterCrop": {}}], 8, CLASSES, "augment.train"),
        mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2), batch_size=256, seed=0, num_workers=1, class_names=names,
    )  # fmt: skip
    loader = PyTorchDataLoader(SplitFiles("train", manifest, raw / "none.beton", raw), config)
    loader.multiprocessing_context = method
    batches = loader.batches()
    for _, _ in zip(range(FEW // 256), batches, strict=False):
        pass
    assert loader._iterator is not None
    size = _own_bytes(loader._iterator._workers[0].pid)
    batches.close()
    loader._iterator = None
    return size


def _own_bytes(pid: int) -> int:
    """Memory that a process has written to, and shares with no other."""
    return sum(mapping.private_dirty for mapping in psutil.Process(pid).memory_maps())


def _path(number: int) -> str:
    label = number // 2 % CLASSES
    return f"n{label:08d}/n{label:08d}_{number:08d}.JPEG"


def _write(path: Path, ids: np.ndarray, side: int = 400) -> Manifest:
    """The manifest of images by number."""
    paths = sorted(map(_path, ids.tolist()))
    labels = np.array([int(name[1:9]) for name in paths], np.int32)
    classes = pa.array([f"n{label:08d}" for label in range(CLASSES)], pa.string())
    columns = {
        "path": paths,
        "class_name": pa.DictionaryArray.from_arrays(labels, classes),
        "label": labels,
        **{name: np.full(len(ids), side) for name in ("bytes", "width", "height")},
        "mode": ["RGB"] * len(ids),
        "format": ["JPEG"] * len(ids),
        "sha256": np.random.default_rng(0).integers(0, 256, (len(ids), 32), np.uint8),
    }
    return write_columns(path, columns)
