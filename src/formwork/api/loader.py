"""open_loader: the batches that the pipeline trains and evaluates on."""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from formwork import own
from formwork.errors import FormworkError, did_you_mean
from formwork.folders import Folders
from formwork.images.manifest import SPLITS
from formwork.loading.base import BaseLoader
from formwork.loading.device import usable_device
from formwork.loading.project import ProjectData
from formwork.params import Params, load_params


def open_loader(
    split: str,
    repo: str | PathLike[str] = ".",
    use_ffcv: bool | None = None,
    params: Params | Mapping[str, Any] | None = None,
    device: str | torch.device = "cpu",
) -> BaseLoader:
    """The loader of a split, as the stages train and evaluate use it: the same images in the same order, with the same
    augmentation and channel statistics.

        loader = formwork.open_loader("train", params={"data.batch_size": 32})
        for epoch in range(10):
            for images, targets in loader:
                ...

    Each iteration is an epoch of `len(loader)` batches, and the next one begins where that one ended;
    `loader.set_epoch(n)` makes the next iteration epoch n, counted from 0. Images are (B, 3, H, W) tensors of the type
    `data.dtype`. Targets are, by the task of the dataset, (B,) int64 classes (of mixed images (B, classes)
    probabilities); (B, labels) float32 of 0 and 1; or (B, K) float32 numbers. `loader.class_names` are the names of the
    classes or labels, `loader.target_names` those of the numbers; `loader.name` is "ffcv" or "pytorch".

    Where the table of labels has a column `weight`, a batch of the training split has a third part, the (B,) float32
    weights of its images: `for images, targets, weights in loader`.

    Nothing has to be closed: threads end with their iteration, worker processes with the loader.

    Args:
        split: "train", "val", or "test" where the dataset has one. The training split is shuffled and augmented, and
            its last batch, if not full, dropped.
        repo: root of the repository: the folder of its params.yaml. Paths in messages begin with it, and the commands
            that they advise are for a shell in that folder.
        use_ffcv: load the betons (True) or the original images (False); None: as data.use_ffcv says. Where betons
            cannot be loaded, ffcv.fallback decides.
        params: changes of the values in params.yaml by dotted key, such as {"data.name": "cifar10", "seed": 1}; or all
            of them, from load_params, and then params.yaml is not read.
        device: where batches are wanted, as torch names it, or "auto". On a CUDA device they come copied and normalised
            (uint8 to float32), one ahead of the loop. For any other they stay in memory.

    Raises:
        FormworkError: something is missing, damaged or wrongly configured; the message says what to do.
    """
    if split not in SPLITS:
        raise FormworkError(f"There is no split {split!r}. {did_you_mean(split, SPLITS)}")
    root, where = Path(repo), usable_device(device)
    if not isinstance(params, Params):
        check_repository(root)
        params = load_params(root, params)
    if use_ffcv is not None:
        params = params.model_copy(update={"data": params.data.model_copy(update={"use_ffcv": use_ffcv})})
    own.use(root)
    return ProjectData(params, Folders.of(params.data.name, root), [split]).loader(split, device=where)


def check_repository(root: Path) -> None:
    """Raises FormworkError: there is no params.yaml."""
    if not (root / "params.yaml").is_file():
        above = own.repository_of(root)
        advice = f"repo={str(above)!r}" if above else "repo=<the folder of params.yaml>"
        raise FormworkError(f"{root.absolute()} is not the root of a Formwork repository. Name it: {advice}.")
