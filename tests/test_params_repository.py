"""What DVC would stop at is refused before: keys, datasets and groups that are not there."""

import os
from pathlib import Path

import pytest

from formwork.errors import ParamsError
from formwork.params.repository import load_params_of_stages
from formwork.yaml import dump_yaml, read_yaml
from tests.workspace import ROOT, default_params, write_file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_file(tmp_path / "dvc.yaml", (ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    (tmp_path / "data/raw/photos").mkdir(parents=True)
    (tmp_path / "data/raw/.photos.partial").mkdir()
    write_file(tmp_path / "data/raw/birds.dvc", "outs:\n- path: birds\n")
    write(tmp_path, default_params(photos={"groups": {"few": ["a"]}}))
    return tmp_path


def write(root: Path, params: dict, **data: object) -> None:
    params["data"] |= {"name": "photos", "fetch": []} | data
    write_file(root / "params.yaml", dump_yaml(params))


def change(root: Path, **data: object) -> None:
    write(root, read_yaml(root / "params.yaml"), **data)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"group": "few"},
        {"name": "birds"},
        {"name": "digits", "fetch": ["digits"]},
        {"name": "interim_only"},
    ],
)
def test_what_is_there_is_taken(root: Path, data: dict[str, object]) -> None:
    """Also where DVC knows the images, where they are fetched, or where manifests and betons alone were pulled."""
    write_file(root / "data/interim/interim_only/dataset.json", "{}")
    change(root, **data)
    assert load_params_of_stages(root).data.name == data.get("name", "photos")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"name": "photo"}, "data.name is 'photo', and there is no folder {}/data/raw/photo. Did you mean 'photos'?"),
        ({"name": "bird"}, "data.name is 'bird', and there is no folder {}/data/raw/bird. Did you mean 'birds'?"),
        ({"name": "zzz"}, "data.name is 'zzz', and there is no folder {}/data/raw/zzz. Known: birds, photos."),
        (
            {"name": "mnist", "fetch": ["digits"]},
            "data.name is 'mnist', which is not fetched yet. Add it to data.fetch: -S data.name=mnist "
            "-S 'data.fetch=[digits,mnist]'",
        ),
        (
            {"name": "mount"},
            "{}/data/raw/mount, the dataset of data.name, is a link to /nowhere/at/all, which is not there. Is it "
            "mounted?",
        ),
        (
            {"group": "fwe"},
            "data.group in params.yaml is 'fwe', which datasets.photos.groups does not define. Did you mean 'few'?",
        ),
    ],
)
def test_what_is_nowhere_is_refused(root: Path, data: dict[str, object], message: str) -> None:
    os.symlink("/nowhere/at/all", root / "data/raw/mount")
    change(root, **data)
    with pytest.raises(ParamsError) as error:
        load_params_of_stages(root)
    assert str(error.value) == message.format(root)


def test_keys_that_stages_depend_on_are_needed(root: Path) -> None:
    params = read_yaml(root / "params.yaml")
    del params["data"]["dtype"], params["evaluate"], params["ffcv"]["beton"]["seed"]
    write(root, params)

    with pytest.raises(ParamsError) as error:
        load_params_of_stages(root)

    assert str(error.value).splitlines() == [
        "params.yaml lacks keys that stages depend on. Their defaults are",
        "  data.dtype: float32",
        "  evaluate: {worst_mistakes: 16, bootstrap: 1000, tta: null, corruptions: [], seed: 0}",
    ]
