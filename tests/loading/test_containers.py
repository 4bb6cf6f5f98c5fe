"""Images in containers: the same betons and the same batches as from files of their own."""

from pathlib import Path

import pytest
import torch

from formwork.conversion import write
from formwork.conversion.write import write_beton
from formwork.errors import BetonError, DatasetError
from formwork.images.manifest import read_manifest
from formwork.loading.base import SplitFiles
from formwork.loading.ffcv_loader import FFCVDataLoader
from formwork.loading.pytorch_loader import PyTorchDataLoader
from formwork.params import BetonParams
from tests.datasets.linking import NAME, run_link
from tests.huggingface import images, labelled, save_to_disk, write_parquet
from tests.loading.conftest import make_config
from tests.tars import write_tar


@pytest.fixture(params=["parquet", "arrow", "tar"])
def split(request: pytest.FixtureRequest, tmp_path: Path) -> SplitFiles:
    """A training split of 24 images and more, in two containers."""
    raw = tmp_path / "raw" / NAME
    if request.param == "parquet":
        for number in range(2):
            write_parquet(raw / f"train-0000{number}-of-00002.parquet", labelled(16, seed=number))
    elif request.param == "tar":
        for number, name in enumerate(("cat", "dog")):
            write_tar(raw / f"{name}.tar", {f"{n}.png": image for n, image in enumerate(images(16, seed=number))})
    else:
        save_to_disk(raw, labelled(32), shards=2)
    run_link(tmp_path, split={"val": 0.25, "test": 0.0})
    return SplitFiles("train", read_manifest(tmp_path / "interim" / NAME / "train.csv"), tmp_path / "train.beton", raw)


def convert(split: SplitFiles, workers: int) -> bytes:
    write_beton(split.manifest, split.raw, split.beton, BetonParams(write_mode="raw"), workers)
    return split.beton.read_bytes()


def test_both_loaders_give_the_same_batches(split: SplitFiles) -> None:
    convert(split, 2)
    for workers in (0, 2):
        config = make_config(batch_size=8, num_workers=workers, drop_last=False)
        for ours, theirs in zip(FFCVDataLoader(split, config), PyTorchDataLoader(split, config), strict=True):
            assert all(map(torch.equal, ours, theirs))


def test_the_beton_is_the_same_in_whatever_order_images_are_read(
    split: SplitFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_groups = convert(split, 3)
    monkeypatch.setattr(write, "reads_in_groups", lambda path: False)

    assert convert(split, 1) == by_groups
    assert sorted(path.name for path in split.beton.parent.iterdir() if "beton" in path.name) == ["train.beton"]


def test_a_container_that_changed_or_is_gone_is_an_error_that_names_it(split: SplitFiles) -> None:
    container = split.raw / Path(split.manifest.paths[0]).parent
    if container.suffix == ".parquet":
        write_parquet(container, labelled(16, seed=7))
        with pytest.raises(BetonError, match=r"\.parquet/\d{8} changed after its manifest was made"):
            convert(split, 2)
    if container.suffix == ".tar":
        write_tar(container, {"first.png": images(1, seed=7)[0]}, mode="w")
        with pytest.raises(BetonError, match=r"\.tar/\d+\.png: its tar (holds no such file|is no longer what)"):
            convert(split, 2)
        with pytest.raises(DatasetError, match=r"Sample \d+, .*\.tar/\d+\.png: its tar (holds no|is no longer)"):
            list(PyTorchDataLoader(split, make_config(num_workers=1)))
    container.unlink()

    with pytest.raises(BetonError, match=f"{container.name}/.*No such file|{container.name}/.*Not a directory"):
        convert(split, 2)
    with pytest.raises(DatasetError, match=r"The original images .* are missing\. Run `dvc pull"):
        PyTorchDataLoader(split, make_config())
