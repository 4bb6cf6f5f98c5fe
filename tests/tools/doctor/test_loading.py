"""How images would be loaded, and results that were made otherwise."""

import shutil
from pathlib import Path

import pytest

from formwork import system
from formwork.kernels.cache import cache_folder, source_digest
from formwork.loading.project import ProjectData
from tests.tools.doctor.conftest import Patient
from tests.training.conftest import folders_of, make_params

BETON = Path("data/processed/colours/train.beton")


def test_ffcv_for_both_splits(patient: Patient) -> None:
    assert patient.look("loader").finding == "FFCVDataLoader, for both splits"
    patient.set_params(data={"use_ffcv": False})
    assert patient.look("loader").finding.startswith("PyTorchDataLoader, as data.use_ffcv: false asks")


@pytest.mark.parametrize("ffcv", [{}, {"fallback": "error"}])
@pytest.mark.parametrize("raw", [True, False])
def test_a_fallback_is_foreseen_with_its_reason(patient: Patient, ffcv: dict, raw: bool) -> None:
    patient.set_params(ffcv=ffcv)
    BETON.write_bytes(BETON.read_bytes()[:-5])
    if not raw:
        shutil.rmtree(patient / "data/raw")

    found = patient.look("loader")

    assert found.verdict == ("problem" if ffcv or not raw else "note")
    assert f"{BETON} is damaged" in found.finding
    assert ("ffcv.fallback is error" in found.finding) == bool(ffcv)


def test_a_damaged_beton_makes_a_training_fall_back(patient: Patient) -> None:
    BETON.write_bytes(BETON.read_bytes()[:-5])
    found = patient.look("loader")
    assert found.verdict == "note"
    assert f"would fall back to the PyTorch DataLoader: {BETON} is damaged" in found.finding

    BETON.unlink()
    found = patient.look("loader")
    assert found.verdict == "note"
    assert found.commands == (f"dvc pull {BETON}", "dvc repro convert")


def test_the_loader_is_made_without_writing_anything(patient: Patient) -> None:
    for name in ("train", "val"):
        shutil.rmtree(patient / f"data/interim/colours/{name}")
    BETON.write_bytes(BETON.read_bytes()[:-5])
    before = sorted(patient.path.rglob("*"))

    assert patient.look("loader").verdict == "note"
    patient.set_params(data={"use_ffcv": False})
    assert patient.look("loader").verdict == "ok"

    assert sorted(patient.path.rglob("*")) == before


def test_pytorch_needs_the_originals(patient: Patient) -> None:
    patient.set_params(data={"use_ffcv": False})
    shutil.rmtree(patient / "data/raw")
    assert patient.look("loader").verdict == "problem"


@pytest.mark.parametrize(
    ("sections", "verdict", "words"),
    [
        ({}, "ok", " batches of 16 an epoch, "),
        ({"data": {"batch_size": 5000}}, "problem", "data.batch_size is 5000 and the train split has "),
        ({"data": {"batch_size": 32}}, "note", "a smaller data.batch_size would use more of them"),
        ({"augment": {"train": [{"RandomFlip": {}}]}}, "problem", "augment.train: there is no operation 'RandomFlip'"),
        ({"augment": {"val": [{"CenterCrop": {"ratio": 2}}]}}, "problem", "augment.val: CenterCrop: ratio must be"),
    ],
)
def test_batches(patient: Patient, sections: dict, verdict: str, words: str) -> None:
    patient.set_params(**sections)
    found = patient.look("batches")
    assert found.verdict == verdict
    assert words in found.finding


TWO = {"devices": 2, "strategy": "ddp", "accelerator": "cpu"}


@pytest.mark.parametrize(
    ("workers", "trainer", "waited", "words", "better"),
    [
        (4, {}, 0.5, None, None),
        (9, {}, 0.0, "data.num_workers 9, 4 cores: more than can work at once", 4),
        (3, TWO, 0.0, "data.num_workers 3 x 2 devices, 4 cores: more than", 2),
        (1, {}, 0.0, None, None),
        (1, {}, 0.5, "the last training waited for data for 50% of its time", 4),
    ],
)
def test_workers(
    patient: Patient,
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
    trainer: dict,
    waited: float,
    words: str | None,
    better: int | None,
) -> None:
    monkeypatch.setattr(system, "cores", lambda: 4)
    patient.set_params(data={"num_workers": workers}, trainer=trainer, ffcv={"distributed": bool(trainer)})
    patient.write_json("results/speed/metrics.json", {"waiting_share": waited, "machine_id": system.machine_id()})

    found = patient.look("workers")

    assert found.verdict == ("note" if words else "ok")
    assert not words or words in found.finding
    assert not better or found.commands == (f"dvc exp run -S data.num_workers={better}",)


def test_kernels_are_compiled_once_a_batch_was_loaded(patient: Patient) -> None:
    next(iter(ProjectData(make_params(), folders_of(patient.path)).loader("train")))
    assert patient.look("kernels").finding == f"compiled, in {cache_folder(source_digest())}"


def test_kernels_that_cannot_be_kept_are_a_note(
    patient: Patient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path / "file"))
    cache_folder.cache_clear()
    try:
        found = patient.look("kernels")
    finally:
        cache_folder.cache_clear()
    assert found.verdict == "note"
    assert "each process compiles them anew" in found.finding


def test_kernels_that_are_switched_off_are_a_note(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORMWORK_KERNELS", "plain")
    monkeypatch.setattr("formwork.kernels.compile._state.plain", True)
    found = patient.look("kernels")
    assert found.verdict == "note"
    assert "plain code takes their place" in found.finding
    assert found.commands == ("unset FORMWORK_KERNELS",)


@pytest.mark.parametrize(
    ("use_ffcv", "train", "evaluate", "stages"),
    [
        (True, "ffcv", "ffcv", None),
        (True, None, None, None),
        (True, "pytorch", "ffcv", "train"),
        (True, "train: ffcv, val: pytorch", "pytorch", "train evaluate"),
        (False, "ffcv", "pytorch", "train"),
    ],
)
def test_results_of_another_loader_are_a_note(
    patient: Patient, use_ffcv: bool, train: str | None, evaluate: str | None, stages: str | None
) -> None:
    patient.set_params(data={"use_ffcv": use_ffcv})
    for stage, used in (("train", train), ("evaluate", evaluate)):
        if used:
            patient.write_json(f"results/{stage}/metrics.json", {"loader": used})

    found = patient.look("results")

    assert found.verdict == ("note" if stages else "ok")
    assert found.commands == ((f"dvc repro --force --single-item {stages}",) if stages else ())


def test_results_that_are_no_json_are_none(patient: Patient) -> None:
    patient.write_json("results/train/metrics.json", ["loader"])
    Path("results/evaluate").mkdir()
    Path("results/evaluate/metrics.json").write_text("{")
    assert patient.look("results").finding == "none yet"


def test_interrupted_trainings_are_listed_with_their_size(patient: Patient) -> None:
    assert patient.look("interrupted runs").verdict == "ok"

    checkpoint = Path("models/.resume/abc.ckpt")
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(bytes(5000))
    found = patient.look("interrupted runs")

    assert found.verdict == "note"
    assert found.finding.startswith("1 interrupted training, 5 kB in models/.resume: each goes on from there when ")
    assert found.commands == (f"rm {checkpoint}",)
