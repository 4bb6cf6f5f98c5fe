"""The model card says what is known of a model, and of no other."""

import hashlib
from pathlib import Path

import pytest

from formwork.errors import FormworkError
from formwork.evaluation.evaluate import evaluate
from formwork.images.manifest import read_manifest
from formwork.tools.report.model_card import model_card
from formwork.yaml import dump_yaml
from tests.training.conftest import folders, make_params, project, run

__all__ = ["folders", "project", "run"]  # fixtures


def lock_file(path: Path, trained: Path, folders, **params: object) -> Path:
    """What DVC would write of a training and its evaluation."""
    files = [folders.settings, folders.manifest("train"), folders.manifest("val")]
    deps = [{"path": str(file), "md5": hashlib.md5(file.read_bytes()).hexdigest()} for file in files]
    out = {"path": str(trained), "md5": hashlib.md5(trained.read_bytes()).hexdigest()}
    train = {"deps": deps, "outs": [out], "params": {"params.yaml": params}}
    path.write_text(dump_yaml({"stages": {"train": train, "evaluate": {"deps": [out, deps[0]]}}}))
    return path


def test_a_card_has_what_is_known_and_nothing_of_another_model(run, folders, tmp_path):
    recipe = {"train": {"lr": 0.02}, "trainer": {"max_epochs": 1}, "model": {"options": {"width": 8}}}
    out = run("out", **recipe)
    model, results = out / "best.pt", tmp_path / "results"
    evaluate(make_params(**recipe), folders, model, results / "evaluate")
    lock = lock_file(tmp_path / "dvc.lock", model, folders, **recipe, seed=0)
    (folders.raw / "LICENSE").write_text("free")

    try:
        card = model_card(folders, model, results, lock)
        again = model_card(folders, model, results, lock)
    finally:
        (folders.raw / "LICENSE").unlink()

    assert card == again
    sections = dict(part.split("\n", 1) for part in card.split("\n## ")[1:])
    assert list(sections) == ["Results", "Model", "Data", "Training", "Use"]
    assert card.startswith(
        "# colours, small_cnn\n\nThe model says which of 3 classes an image shows. `blue`, `green`, `red`."
    )
    assert "| accuracy | 1.0000 (0." in sections["Results"] or "| accuracy | 0." in sections["Results"]
    assert "| initial weights | random |" in sections["Model"]
    assert '| options | `{"width": 8}` |' in sections["Model"]
    assert hashlib.sha256(model.read_bytes()).hexdigest() in sections["Model"]
    for split, title in (("train", "training"), ("val", "validation")):
        manifest = read_manifest(folders.manifest(split))
        assert f"| {title} | {len(manifest)} | `{manifest.digest}` |" in sections["Data"]
    assert f"Its licence: `{folders.raw}/LICENSE`." in sections["Data"]
    assert "train.lr: 0.02\ntrainer.max_epochs: 1\n" in sections["Training"]

    with pytest.raises(FormworkError, match=r"gone\.lock says nothing of the stage train\. Run `dvc repro`"):
        model_card(folders, model, results, tmp_path / "gone.lock")
    other = run("other", trainer={"max_epochs": 1}, seed=1) / "best.pt"
    model.write_bytes(other.read_bytes())
    with pytest.raises(FormworkError, match=r"best\.pt is not the one that dvc\.lock describes"):
        model_card(folders, model, results, lock)
