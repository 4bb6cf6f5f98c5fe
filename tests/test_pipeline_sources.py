"""Datasets by name, and those that live elsewhere, through the whole pipeline on real DVC."""

import json
from pathlib import Path

import pytest
from torchvision.datasets import CIFAR100

from formwork.images.manifest import SPLITS
from tests import archives
from tests.make_images import make_dataset
from tests.tools.compare.conftest import EVALUATE, TRAIN, TRY
from tests.workspace import Workspace, copy_sources, snapshot

FILE = CIFAR100.filename
GROUPS = {"invertebrates": ["worm", "crab", "snail"], "fish": ["trout", "shark"]}
SETTINGS = {
    "resolution": 32,
    "mean": [0.5, 0.4, 0.3],
    "augment": {"train": [{"CenterCrop": {}}, {"RandomCrop": {"padding": 4}}]},
    "groups": GROUPS,
}


@pytest.fixture
def new(tmp_path: Path, environment: dict[str, str]) -> Workspace:
    """A repository in which nothing ran yet; `try`, `train` and `evaluate` take no time there."""
    new = Workspace(tmp_path / "repo", environment | {"no_proxy": "*", "MACHINE": "CPU", "TRAININGS": "/dev/null"})
    copy_sources(new.path, cifar100=SETTINGS)
    (new / "src/try.py").write_text(TRY.format(text="tried\n"))
    (new / "src/train.py").write_text(TRAIN)
    (new / "src/evaluate.py").write_text(EVALUATE)
    new.set_params(data__num_workers=0, trainer__max_epochs=1)
    new.git("init --quiet --initial-branch main")
    new.commit("Start")
    return new


def settings(repo: Workspace, name: str) -> dict:
    return json.loads((repo / f"data/interim/{name}/dataset.json").read_text())


def test_cifar100_by_name_whole_and_by_group(new: Workspace):
    """A cut connection leaves nothing; then all stages run (train and evaluate take no time here), the name alone
    brings the settings, and a group its classes."""
    names = sorted(name for group in GROUPS.values() for name in group)
    archive, attributes = archives.cifar(CIFAR100, names)
    with archives.serving({FILE: archive}) as server:
        lines = ["from torchvision.datasets import CIFAR100"]
        lines += [f"CIFAR100.{key} = {value!r}" for key, value in {**attributes, "url": server.url(FILE)}.items()]
        script = new / "src/fetch.py"
        script.write_text("\n".join([*lines, script.read_text()]))
        new.set_params(data__fetch=["digits", "cifar100"], data__name="cifar100", data__batch_size=8)

        server.faults[FILE] = "cut"
        failed = new.dvc("repro", status=255)
        assert f"{server.url(FILE)}: the connection was cut" in failed.output
        assert not (new / "data/raw/cifar100").exists()

        server.faults.clear()
        convert = {"convert@train", "convert@val", "convert@test"}
        assert set(new.dvc("repro").ran) == {"fetch@cifar100", "link", *convert, "weights", "train", "evaluate"}
    assert new.changes() == {"data/dvc.lock", "dvc.lock", "params.yaml", "src/fetch.py"} | {
        path for path in new.changes() if path.startswith("results/")
    }
    found = settings(new, "cifar100")
    assert found["class_names"] == names
    assert (found["resolution"], found["mean"]) == (SETTINGS["resolution"], SETTINGS["mean"])
    assert found["augment_train"] == SETTINGS["augment"]["train"]
    whole = snapshot(new / "data/processed")
    assert new.dvc("repro").ran == []

    new.set_params(data__group="invertebrates")
    assert new.dvc("repro convert").ran == ["link", "convert@train", "convert@val", "convert@test"]
    assert settings(new, "cifar100")["class_names"] == sorted(GROUPS["invertebrates"])

    new.set_params(data__group="invertebrate")
    assert "Did you mean 'invertebrates'" in new.dvc("repro convert", status=255).output

    new.set_params(data__group="all")
    assert new.dvc("repro").ran == []
    assert snapshot(new / "data/processed") == whole


def test_options_of_a_source_make_that_dataset_alone_again(new: Workspace):
    new.set_params(data__fetch=["digits", "synthetic"], sources__synthetic__images=4)
    new.dvc("repro data/dvc.yaml")
    assert len(list((new / "data/raw/synthetic").rglob("*.jpg"))) == 4
    before = snapshot(new / "data/raw/digits")

    new.set_params(sources__synthetic__images=5)
    assert new.dvc("repro data/dvc.yaml").ran == ["fetch@synthetic"]
    assert len(list((new / "data/raw/synthetic").rglob("*.jpg"))) == 5
    assert snapshot(new / "data/raw/digits") == before


def test_an_edited_source_looks_at_its_datasets_and_changes_nothing(new: Workspace):
    """Stages depend on all sources together: an edit of one must not write a dataset again, nor run what follows."""
    new.set_params(data__fetch=["digits", "synthetic"], sources__synthetic__images=4)
    first = new.dvc("repro data/dvc.yaml link")
    assert set(first.ran) == {"fetch@digits", "fetch@synthetic", "link"}
    assert "Do not edit data/raw/digits: `dvc exp run` puts it back unasked" in first.output
    never_run = new.outdated_stages()
    raw = new / "data/raw"
    before = {path: path.stat().st_mtime_ns for path in [raw, *raw.rglob("*")]}
    with (new / "src/formwork/sources/mnist.py").open("a") as source:
        source.write("# edited\n")

    assert new.outdated_stages() - never_run == {"data/dvc.yaml:fetch@digits", "data/dvc.yaml:fetch@synthetic"}
    again = new.dvc("repro data/dvc.yaml link")

    assert set(again.ran) == {"fetch@digits", "fetch@synthetic"}
    for name in ("digits", "synthetic"):
        assert f"data/raw/{name} is complete and unchanged." in again.output
    assert {path: path.stat().st_mtime_ns for path in [raw, *raw.rglob("*")]} == before
    assert new.outdated_stages() == never_run


def test_a_dataset_elsewhere_is_used_through_a_symlink(new: Workspace):
    """Nothing is written there, nothing of it is copied, and a change there is seen."""
    mount = new.path.parent / "mount"
    for split, seed in (("train", 0), ("val", 1)):
        make_dataset(mount / split, per_class=4, seed=seed)
    (new / "data/raw").mkdir()
    (new / "data/raw/imagenet").symlink_to(mount)
    new.set_params(data__name="imagenet", data__fetch=[])
    before = snapshot(mount)

    assert new.dvc("repro convert").ran == ["link", "convert@train", "convert@val", "convert@test"]
    assert new.dvc("repro convert").ran == []
    assert snapshot(mount) == before
    metrics = {f"results/{path}{split}.json" for path in ("convert/", "speed/convert_") for split in SPLITS}
    always_the_same = {"results/try.txt", "results/check.txt"}
    assert new.changes() == {"dvc.lock", "params.yaml"} | always_the_same | metrics
    images = set(before.values())
    assert images.isdisjoint(snapshot(new / ".dvc/cache").values())

    (mount / "val/cat/000.png").write_bytes((mount / "val/cat/001.png").read_bytes()[:-12])
    assert "link" in new.outdated_stages()
