"""Training is reproducible to the last digit, the same with either loader, and records what it did."""

import csv
import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from formwork.errors import AugmentationError, BetonError, DatasetError, FormworkError, ParamsError
from formwork.evaluation.evaluate import evaluate
from formwork.folders import Folders
from formwork.interim.settings import read_settings
from formwork.loading.factory import FALLBACK
from formwork.loading.project import ProjectData
from formwork.loading.pytorch_loader import TreeDataset
from formwork.models.build import build_model
from formwork.models.model_file import load_model, save_model
from formwork.params import Model
from formwork.system import machine, machine_id, software
from formwork.training.fit import train
from formwork.training.module import ImageModule
from tests.training.conftest import make_params
from tests.training.forked import note_signals

pytestmark = pytest.mark.slow

CURVES = {"train/loss", "train/accuracy", "val/loss", "val/accuracy"}
SPEED = {"images_per_second", "seconds", "waiting_seconds", "waiting_share"}


def metrics(out: Path) -> dict:
    return json.loads((out / "train/metrics.json").read_text())


def speed(out: Path) -> dict:
    return json.loads((out / "speed/metrics.json").read_text())


def curve(folder: Path, name: str) -> list[tuple[str, ...]]:
    with (folder / f"plots/metrics/{name}.tsv").open() as file:
        return [tuple(row) for row in csv.reader(file, delimiter="\t")]


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_same_params_give_the_same_files_and_another_seed_does_not(run):
    first, again, other = run("first"), run("again"), run("other", seed=1)
    assert files(first / "train") == files(again / "train")
    assert (first / "best.pt").read_bytes() == (again / "best.pt").read_bytes()
    assert metrics(first)["train"]["loss"] != metrics(other)["train"]["loss"]


def test_either_loader_trains_the_same_model(run):
    ffcv = run("ffcv")
    pytorch = run("pytorch", data={"use_ffcv": False, "num_workers": 0})
    assert metrics(ffcv)["loader"] == "ffcv"
    assert metrics(pytorch)["loader"] == "pytorch"
    assert metrics(ffcv) | {"loader": ""} == metrics(pytorch) | {"loader": ""}
    assert (ffcv / "best.pt").read_bytes() == (pytorch / "best.pt").read_bytes()


def test_workers_change_nothing(run):
    assert files(run("one") / "train") == files(run("three", data={"num_workers": 3}) / "train")


def test_every_epoch_is_recorded(run):
    out = run("out", trainer={"max_epochs": 4})
    for folder, names in ((out / "train", CURVES), (out / "speed", SPEED)):
        for name in names:
            header, *rows = curve(folder, name)
            assert header == ("step", name.split("/")[-1])
            assert [row[0] for row in rows] == ["1", "2", "3", "4"]
    found = speed(out)
    assert (found["loader"], found["step"]) == ("ffcv", 4)
    assert metrics(out)["step"] == 4
    assert 0 < found["waiting_seconds"] < found["seconds"]
    assert found["waiting_share"] == pytest.approx(found["waiting_seconds"] / found["seconds"], abs=1e-2)
    assert (found["machine"], found["machine_id"]) == (machine(), machine_id())
    assert found["software"] == list(software())


def test_the_figures_of_speed_are_those_of_the_median_epoch_after_the_first(run):
    out = run("out", trainer={"max_epochs": 4})
    epochs = {name: [float(value) for _, value in curve(out / "speed", name)[1:]] for name in SPEED}
    median = sorted(range(1, 4), key=epochs["seconds"].__getitem__)[1]  # of equal ones, the first
    assert {name: speed(out)[name] for name in SPEED} == {name: values[median] for name, values in epochs.items()}


@pytest.mark.parametrize("use_ffcv", [True, False], ids=["ffcv", "pytorch"])
def test_the_first_batch_is_that_of_both_loaders_and_their_making_counts(run, monkeypatch, use_ffcv):
    """By a clock that stands still but where a loader is made (10 s), gives its first batch (5 s) or another (1 s)."""
    clock = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)
    monkeypatch.setattr("formwork.loading.base.time", clock)
    monkeypatch.setattr("formwork.training.datamodule.time", clock)
    original = ProjectData.loader

    def make(self, *arguments, **named):
        clock.now += 10
        loader = original(self, *arguments, **named)
        give = loader.batches

        def batches():
            for number, batch in enumerate(give()):
                clock.now += 1 if number else 5
                yield batch

        loader.batches = batches
        return loader

    monkeypatch.setattr(ProjectData, "loader", make)
    assert speed(run("out", data={"use_ffcv": use_ffcv}))["first_batch_seconds"] == 30


def test_memory_of_worker_processes_counts(run, monkeypatch):
    """Of each split's worker, which has 100 MB of its own."""
    pytorch = {"data": {"use_ffcv": False}, "trainer": {"max_epochs": 1}}
    before = speed(run("little", **pytorch))["peak_memory_mb"]
    original = TreeDataset.__getitem__

    def get(self, index):
        if not hasattr(self, "kept"):
            self.kept = bytearray(b"x" * 100_000_000)
        return original(self, index)

    monkeypatch.setattr(TreeDataset, "__getitem__", get)
    assert speed(run("much", **pytorch))["peak_memory_mb"] > before + 150


def test_the_curves_are_means_over_all_images(run, monkeypatch):
    seen = {"train": [], "val": []}  # mean loss, hits and images, by batch
    log = ImageModule._log

    def watched(self, split, loss, outputs, targets):
        hits = int((outputs.argmax(dim=1) == targets).sum())
        seen[split].append((loss.item(), hits, len(targets)))
        return log(self, split, loss, outputs, targets)

    monkeypatch.setattr(ImageModule, "_log", watched)
    found = metrics(run("out", trainer={"max_epochs": 1}))

    assert len(seen["train"]) > 1
    losses, hits, counts = (np.array(values) for values in zip(*seen["train"], strict=True))
    assert found["train"]["accuracy"] == pytest.approx(hits.sum() / counts.sum())
    assert found["train"]["loss"] == pytest.approx((losses * counts).sum() / counts.sum())


def test_it_learns_and_keeps_the_best_epoch(run):
    out = run("out", trainer={"max_epochs": 6})
    accuracies = [float(value) for _, value in curve(out / "train", "val/accuracy")[1:]]
    assert max(accuracies) == 1.0
    saved = torch.load(out / "best.pt", weights_only=True)
    assert saved["val"]["accuracy"] == max(accuracies)
    assert saved["epoch"] == 1 + accuracies.index(max(accuracies))
    model, settings, _ = load_model(out / "best.pt")
    assert settings.class_names == ["blue", "green", "red"]
    assert not model.training


@pytest.mark.parametrize(("name", "timesteps"), [("rcnn", 3), ("rcnn", 1), ("resnet18", 1)])
def test_the_other_models_train(run, name, timesteps):
    out = run("out", model={"name": name, "timesteps": timesteps}, trainer={"max_epochs": 1})
    assert 0 < metrics(out)["train"]["loss"] < 3
    load_model(out / "best.pt")


@pytest.mark.parametrize(
    "model", [{"name": "small_cnn", "timesteps": 1}, {"name": "rcnn", "timesteps": 3}], ids=["plain", "sequence"]
)
def test_images_normalised_on_the_device_train_the_same_model(run, model):
    changes = {"model": model, "trainer": {"max_epochs": 1}}
    plain, pixels = run("plain", **changes), run("pixels", data={"dtype": "uint8"}, **changes)
    assert (plain / "best.pt").read_bytes() == (pixels / "best.pt").read_bytes()


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true", "64-true"])
@pytest.mark.parametrize("dtype", ["bfloat16", "uint8"])
def test_the_model_gets_images_of_its_own_type(run, dtype, precision):
    out = run("out", data={"dtype": dtype}, trainer={"max_epochs": 1, "precision": precision})
    assert 0 < metrics(out)["train"]["loss"] < 3


@pytest.mark.parametrize("lost", [False, True])
def test_an_interruption_ends_the_run_though_its_exception_is_lost(run, monkeypatch, lost):
    steps, handler = [], signal.getsignal(signal.SIGINT)
    original = ImageModule.training_step

    def step(self, batch):
        steps.append(batch)
        if len(steps) == 2:
            try:
                os.kill(os.getpid(), signal.SIGINT)
                heard()
            except KeyboardInterrupt:
                if not lost:
                    raise
        return original(self, batch)

    heard = note_signals(monkeypatch.setattr)
    monkeypatch.setattr(ImageModule, "training_step", step)
    with pytest.raises(KeyboardInterrupt):
        run("out", trainer={"max_epochs": 3})
    assert len(steps) == 2
    assert signal.getsignal(signal.SIGINT) == handler


@pytest.mark.parametrize(
    ("model", "mixing"),
    [({"name": "small_cnn"}, {"Mixup": {"alpha": 0.5}}), ({"name": "rcnn", "timesteps": 2}, {"CutMix": {"p": 0.5}})],
    ids=["plain", "sequence"],
)
def test_mixed_images_train_the_same_model_with_either_loader(run, model, mixing):
    changes = {"model": model, "augment": {"train": [{"Resize": {}}, mixing]}}
    ffcv, pytorch = run("ffcv", **changes), run("pytorch", data={"use_ffcv": False}, **changes)
    assert (ffcv / "best.pt").read_bytes() == (pytorch / "best.pt").read_bytes()
    assert metrics(ffcv)["val"]["accuracy"] > 0.5


def test_mixup_in_validation_is_refused(run):
    with pytest.raises(AugmentationError, match=r"augment\.val: Mixup is for training alone"):
        run("out", augment={"val": [{"Resize": {}}, {"Mixup": {}}]})


def test_a_fallback_is_told_and_recorded(run, uncompiled):
    jitter = [{"RandomHorizontalFlip": {}}, uncompiled]
    with pytest.warns(UserWarning, match=FALLBACK):
        out = run("out", augment={"train": jitter}, trainer={"max_epochs": 1})
    assert metrics(out)["loader"] == "train: pytorch, val: ffcv"
    with pytest.raises(FormworkError, match=r"FFCV loading failed: augment\.train: Uncompiled: "):
        run("refused", augment={"train": jitter}, ffcv={"fallback": "error"})


def test_a_beton_that_is_not_there_is_no_reason_to_fall_back(folders, tmp_path):
    """The stages depend on the .json beside it, so that nobody else would notice."""
    alone = type(folders)(folders.raw, folders.interim, tmp_path / "processed")
    alone.processed.mkdir()
    (alone.processed / "train.beton").symlink_to(folders.beton("train"))
    out = tmp_path / "out"
    with pytest.raises(BetonError, match=r"processed/val\.beton is missing\. Run `dvc pull "):
        train(make_params(), alone, out / "best.pt", out / "train", out / "speed")
    with pytest.raises(BetonError, match=r"processed/val\.beton is missing\. Run `dvc pull "):
        evaluate(make_params(), alone, trained(folders, tmp_path / "best.pt"), tmp_path / "results")
    assert not out.exists()
    images = make_params(data={"use_ffcv": False}, trainer={"max_epochs": 1})
    train(images, alone, out / "best.pt", out / "train", out / "speed")  # needs none


def trained(folders: Folders, path: Path) -> Path:
    """A model file that suits the dataset."""
    settings = read_settings(folders.settings)
    weights = build_model(Model(name="small_cnn"), settings.outputs, settings.resolution).state_dict()
    save_model(path, Model(), settings, weights, epoch=1, val={"accuracy": 0.5})
    return path


def test_mistakes_are_found_before_any_work(folders):
    with pytest.raises(ParamsError, match=r"data\.batch_size is 512 and the train split has \d+ images"):
        ProjectData(make_params(data={"batch_size": 512}), folders)
    with pytest.raises(
        AugmentationError, match=r"augment\.val: there is no operation 'Rezise'\. Did you mean 'Resize'"
    ):
        ProjectData(make_params(augment={"val": [{"Rezise": {}}]}), folders)
    with pytest.raises(DatasetError, match=r"other/dataset\.json is missing. Run `dvc pull "):
        ProjectData(make_params(), type(folders)(folders.raw, folders.interim.with_name("other"), folders.processed))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the GPU that the test wants to miss")
@pytest.mark.parametrize("trainer", [{"accelerator": "cuda"}, {"accelerator": "cpu", "strategy": "dpp"}])
def test_a_trainer_that_this_machine_cannot_have(run, trainer):
    with pytest.raises(ParamsError, match=r"trainer in params\.yaml does not suit this machine: "):
        run("out", trainer=trainer)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_a_model_that_cannot_be_loaded(tmp_path, content):
    path = tmp_path / "best.pt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FormworkError, match="is missing. Run `dvc pull" if content is None else "is no model of this"):
        load_model(path)
