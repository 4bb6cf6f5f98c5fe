"""A loss that is not finite stops a training, or is left out of its results; a model that gives any is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from formwork.errors import FormworkError
from formwork.evaluation.evaluate import evaluate
from formwork.images.manifest import read_manifest
from formwork.training.module import ImageModule
from formwork.training.resume import NotFiniteError
from tests.training.conftest import folders_of, make_params
from tests.training.test_fit import curve

pytestmark = pytest.mark.slow

STEPS = 3  # an epoch
NAN = float("nan")


def strictly(text: str) -> object:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture
def wrong(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """wrong("training_step", 5, nan): the fifth loss of a training is not finite, nor are weights after it; of
    "validation_step", the metric alone."""

    def change(name: str, call: int, value: float) -> None:
        original, calls = getattr(ImageModule, name), []

        def step(self, batch):
            calls.append(1)
            if len(calls) == call:
                images, labels = batch
                batch = images * value, labels
            return original(self, batch)

        monkeypatch.setattr(ImageModule, name, step)

    return change


@pytest.mark.parametrize(
    ("step", "value", "minutes"),
    [(1, NAN, 0), (2, NAN, 0), (2, float("inf"), 5), (STEPS, NAN, 5), (STEPS + 2, NAN, 0), (STEPS + 2, NAN, None)],
)
def test_the_first_loss_that_is_not_finite_is_named(run, wrong, tmp_path, value, step, minutes):
    wrong("training_step", step, value)
    with pytest.raises(NotFiniteError) as error:
        run("out", trainer={"max_epochs": 3, "checkpoint_minutes": minutes})
    epoch = (step - 1) // STEPS + 1
    assert f"The training loss is nan at epoch {epoch}, step {step}." in str(error.value)
    assert ("No epoch was finished." if epoch == 1 else "Epoch 1 is the last with finite losses.") in str(error.value)
    last = [n for n in range(1, step) if n != 0]
    if minutes == 0 and last:
        assert f"The last checkpoint is that of epoch {(last[-1] - 1) // STEPS + 1}, step {last[-1]}:" in str(
            error.value
        )
        (checkpoint,) = (tmp_path / "out/.resume").iterdir()
        weights = torch.load(checkpoint, weights_only=True)["state_dict"]
        assert all(weight.isfinite().all() for weight in weights.values())
    else:
        assert "checkpoint" not in str(error.value)
    assert "Lower train.lr, which is 0.003" in str(error.value)
    assert not (tmp_path / "out/best.pt").exists()
    assert (tmp_path / "out/train/metrics.json").exists() == (epoch > 1)


@pytest.mark.parametrize("call", [STEPS + 2, 2 * STEPS])
def test_steps_are_those_of_the_optimiser_and_epochs_without_validation_are_looked_at(run, wrong, call):
    """With steps of two batches and of the third one, in an epoch that is not validated."""
    wrong("training_step", call, NAN)
    trainer = {"max_epochs": 4, "accumulate_grad_batches": 2, "check_val_every_n_epoch": 4}
    message = rf"at epoch 2, step {3 if call == STEPS + 2 else 4}\. Epoch 1 is the last with finite losses\."
    with pytest.raises(NotFiniteError, match=message):
        run("out", trainer=trainer)


def test_a_validation_that_is_not_finite_stops_it_too(run, wrong):
    wrong("validation_step", 2 + 2, NAN)
    with pytest.raises(NotFiniteError, match=r"^The val/loss is nan at epoch 1, step 3\. No epoch was finished\."):
        run("out")


def test_a_learning_rate_that_is_too_high(run):
    with pytest.raises(
        NotFiniteError, match=r"at epoch 1, step \d\. .* which is 1e\+30, or set trainer\.precision: 32-true\."
    ):
        run("out", train={"lr": 1e30}, trainer={"precision": "bf16-mixed"})


def test_it_goes_on_and_keeps_the_best_of_the_finite_epochs(run, wrong, tmp_path):
    wrong("training_step", STEPS + 1, NAN)
    out = run("out", trainer={"max_epochs": 3}, train={"on_nan": "continue"})
    metrics = strictly((out / "train/metrics.json").read_text())
    assert metrics["train"] == metrics["val"] == {"loss": None, "accuracy": None}
    strictly((out / "speed/metrics.json").read_text())
    for name in ("train/loss", "val/loss", "train/accuracy", "val/accuracy"):
        assert [row[0] for row in curve(out / "train", name)] == ["step", "1"]
    assert torch.load(out / "best.pt", weights_only=True)["epoch"] == 1


def test_no_epoch_that_is_finite_gives_no_model(run, wrong, tmp_path):
    wrong("training_step", 1, NAN)
    with pytest.raises(
        NotFiniteError, match=r"^No epoch has finite losses, so there is no model to keep\. Lower train\.lr"
    ):
        run("out", trainer={"max_epochs": 2}, train={"on_nan": "continue"})
    assert not (tmp_path / "out/best.pt").exists()


def test_a_model_whose_answers_are_not_finite_is_not_evaluated(run, project: Path):
    out = run("out", trainer={"max_epochs": 1})
    saved = torch.load(out / "best.pt", weights_only=True)
    for weight in saved["weights"].values():
        weight.fill_(NAN if weight.is_floating_point() else 0)
    torch.save(saved, out / "best.pt")
    images = len(read_manifest(folders_of(project).manifest("val")))
    message = rf"best\.pt gives no finite answer for {images} validation images of {images}, \w+/\d+\.png"
    with pytest.raises(FormworkError, match=message):
        evaluate(make_params(), folders_of(project), out / "best.pt", out / "evaluate")
    assert not (out / "evaluate/metrics.json").exists()
