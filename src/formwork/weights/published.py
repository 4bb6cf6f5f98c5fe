"""model.weights: default, the weights that torchvision and timm publish with a model."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from formwork.params import Model
from formwork.weights.download import download, download_from_hub, file_sha256, of_cache
from formwork.weights.initial_file import Origin
from formwork.weights.user_file import read_user_file


def published(params: Model, folder: Path) -> tuple[dict[str, Tensor], Origin]:
    """The weights of a model as it was published, by the names of its parameters, and where they are from.

    Args:
        folder: for files that are gone afterwards.

    Raises:
        FormworkError: there are none, or they cannot be downloaded, or are not what they should be.
    """
    with _temporary(folder / ".weights.download") as temporary:
        if params.family == "timm":
            return _of_timm(params, temporary)
        return _of_torchvision(params.variant, temporary)


@contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    shutil.rmtree(folder, ignore_errors=True)  # what a killed process left
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _of_torchvision(name: str, folder: Path) -> tuple[dict[str, Tensor], Origin]:
    from torchvision import models

    weights = models.get_model_weights(name)
    chosen = weights.DEFAULT
    found = re.search(r"-([0-9a-f]{8,})\.", chosen.url)
    name_in_cache = chosen.url.rsplit("/", 1)[1]
    hub = folder / "hub"
    path = hub / "checkpoints" / name_in_cache
    prefix = found[1] if found else ""
    path.parent.mkdir(parents=True)
    if cached := of_cache(Path(torch.hub.get_dir()) / "checkpoints" / name_in_cache, prefix):
        path.symlink_to(cached.resolve())
    else:
        download(chosen.url, path, prefix)
    read_user_file(path)  # it holds no code: so the library can load it below in its own way
    with _hub_at(hub):  # where torchvision looks before it downloads
        network = models.get_model(name, weights=chosen, progress=False)
    preset = chosen.transforms()
    size = preset.crop_size[0] if hasattr(preset, "crop_size") else None
    origin = Origin(
        source=chosen.url, sha256=file_sha256(path), mean=list(preset.mean), std=list(preset.std), size=size
    )
    return network.state_dict(), origin


@contextmanager
def _hub_at(folder: Path) -> Iterator[None]:
    before = torch.hub.get_dir()
    torch.hub.set_dir(folder)
    try:
        yield
    finally:
        torch.hub.set_dir(before)


def _of_timm(params: Model, folder: Path) -> tuple[dict[str, Tensor], Origin]:
    import timm

    settings = timm.get_pretrained_cfg(params.variant)
    assert settings is not None  # the stage try has refused what is not published
    if settings.hf_hub_id:
        path, source = download_from_hub(settings.hf_hub_id, settings.hf_hub_filename, folder)
    else:
        source = str(settings.url)
        path = folder / source.rsplit("/", 1)[1]
        found = re.search(r"-([0-9a-f]{8,})\.", path.name)
        download(source, path, found[1] if found else "")
    overlay: dict[str, object]
    if settings.custom_load:  # NumPy arrays, which each architecture reads in a way of its own
        overlay = {"file": str(path), "custom_load": settings.custom_load}
    else:
        overlay = {"state_dict": read_user_file(path)[0]}
    network = timm.create_model(params.variant, pretrained=True, pretrained_cfg_overlay=overlay)
    origin = Origin(
        source=source,
        sha256=file_sha256(path),
        mean=list(settings.mean),
        std=list(settings.std),
        size=settings.input_size[-1],
    )
    return network.state_dict(), origin
