"""Spoilt images: what each corruption does, and that a pixel depends on nothing else."""

import csv
import json
import math

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from formwork.evaluation.corruptions import HIDDEN, PIXELS, Corrupted, Corruption
from formwork.evaluation.evaluate import evaluate
from formwork.evaluation.predictions import device, predict
from formwork.loading.project import ProjectData
from formwork.models.model_file import load_model
from formwork.params.evaluate import CORRUPTIONS, Evaluate
from tests.training.conftest import folders, folders_of, make_params, project, run

__all__ = ["folders", "project", "run"]  # fixtures


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """(6, 3, 32, 32) uint8, shapes with some texture."""
    y, x = np.mgrid[:32, :32] / 32
    random = np.random.default_rng(0)
    waves = np.array([np.sin(a * x + b * y + c) for a, b, c in random.uniform(1, 9, (18, 3))])
    return (127 + 60 * waves + random.normal(0, 15, waves.shape)).astype(np.uint8).reshape(6, 3, 32, 32)


def test_every_corruption_has_pixels_and_severities_that_are_allowed() -> None:
    assert PIXELS.keys() == CORRUPTIONS.keys()
    named = {name: list(kind.severities) for name, kind in CORRUPTIONS.items()}
    assert Evaluate(corruptions=named).severities == Evaluate(corruptions=list(named)).severities == named


@pytest.mark.parametrize(
    ("name", "severity"), [(n, s) for n, kind in CORRUPTIONS.items() for s in kind.severities[::2]]
)
def test_batches_layouts_and_days_decide_no_pixel(images: np.ndarray, name: str, severity: float) -> None:
    spoil = Corruption(name, severity, 3)
    before = images.copy()
    whole = spoil(images, 10)
    assert whole.dtype == np.uint8
    assert whole.shape == images.shape
    assert np.array_equal(images, before)
    assert (whole != images).any(axis=(1, 2, 3)).all()
    assert np.array_equal(whole, spoil(images, 10))
    parts = [spoil(images[start : start + 1], 10 + start) for start in range(6)]
    assert np.array_equal(whole, np.concatenate(parts))
    channels_last = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert np.array_equal(whole, spoil(channels_last, 10))
    drawn = name in ("noise", "occlusion")
    assert np.array_equal(whole, Corruption(name, severity, 4)(images, 10)) != drawn
    assert np.array_equal(whole, spoil(images, 11)) != drawn


def test_worse_severities_are_further_off(images: np.ndarray) -> None:
    for name, kind in CORRUPTIONS.items():
        errors = [np.square(Corruption(name, s, 0)(images, 0) - images.astype(float)).mean() for s in kind.severities]
        assert errors == sorted(errors), name


@pytest.mark.parametrize("decibels", [20, 10, 0])
def test_noise_has_the_power_that_its_name_says(decibels: float) -> None:
    image = (127 + 10 * np.random.default_rng(0).normal(size=(1, 3, 64, 64))).astype(np.uint8)
    noise = Corruption("noise", decibels, 0)(image, 0).astype(float) - image
    assert 10 * math.log10(image.astype(float).var() / noise.var()) == pytest.approx(decibels, abs=0.5)
    assert not np.array_equal(*(Corruption("noise", decibels, 0)(np.concatenate([image] * 2), 0)))
    flat = np.full((1, 3, 8, 8), 90, np.uint8)
    assert np.array_equal(Corruption("noise", decibels, 0)(flat, 0), flat)


def test_what_the_others_do(images: np.ndarray) -> None:
    assert np.array_equal(Corruption("contrast", 1, 0)(images, 0), images)
    grey = Corruption("contrast", 0, 0)(images, 0)
    assert np.array_equal(grey[:, :, 0, 0], np.rint(images.mean(axis=(2, 3))))
    assert np.ptp(grey, axis=(2, 3)).max() == 0
    shifted = Corruption("brightness", -0.2, 0)(images, 0)
    assert np.array_equal(shifted, np.clip(images.astype(int) - 51, 0, 255))
    assert np.array_equal(Corruption("blur", 0, 0)(images, 0), images)
    assert Corruption("blur", 1, 0)(images, 0).std() < images.std() / 3
    hidden = Corruption("occlusion", 0.25, 0)(images, 0) == HIDDEN
    assert (hidden.all(axis=1).sum(axis=(1, 2)) >= 256).all()  # 16 x 16 of 32 x 32
    corners = {tuple(np.argwhere(one)[0]) for one in hidden.all(axis=1)}
    assert len(corners) > 3
    assert (Corruption("occlusion", 1, 0)(images, 0) == HIDDEN).all()
    worse, better = (np.abs(Corruption("jpeg", q, 0)(images, 0).astype(int) - images).mean() for q in (5, 100))
    assert worse > 2 * better


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (None, {}),
        ("noise", {"noise": [20, 15, 10, 5, 0]}),
        (["jpeg"], {"jpeg": [50, 25, 15, 10, 5]}),
        ({"noise": ["1e1", -5]}, {"noise": [10.0, -5]}),
        ([{"noise": [1, 2]}, "blur"], {"noise": [1, 2], "blur": [0.01, 0.015, 0.02, 0.03, 0.05]}),
        ({"noise": 3, "blur": None}, {"noise": [3], "blur": [0.01, 0.015, 0.02, 0.03, 0.05]}),
    ],
)
def test_forms_of_the_key(given: object, found: dict) -> None:
    assert Evaluate(corruptions=given).severities == found


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["nose"], "Did you mean 'noise'?"),
        (["noise", {"noise": [3]}], "twice"),
        ([{"noise": [3], "blur": [1]}], "a list of names"),
        ({"noise": [5, 5.0]}, "twice"),
        ({"noise": []}, "no severities"),
        ({"jpeg": [0]}, "go from 1 to 100, not 0"),
        ({"jpeg": [50.5]}, "whole number"),
        ({"occlusion": [1.5]}, "share of the area that is hidden"),
        ({"blur": [True]}, "not True"),
        ({"blur": ["much"]}, "not 'much'"),
        ({"noise": [math.nan]}, "not nan"),
        (7, "a list of names"),
        ([["noise"]], "a list of names"),
    ],
)
def test_keys_that_are_refused(given: object, words: str) -> None:
    with pytest.raises(ValidationError) as error:
        Evaluate(corruptions=given)
    assert words in str(error.value)


def test_both_loaders_have_the_same_spoilt_images(project) -> None:
    found = []
    for use_ffcv, size, dtype in ((True, 16, "float32"), (False, 7, "uint8")):
        data = ProjectData(
            make_params(data={"use_ffcv": use_ffcv, "batch_size": size, "dtype": dtype}), folders_of(project)
        )
        spoilt = Corrupted(data.loader("val", dtype="uint8"), Corruption("noise", 5, 0), data.normal, dtype)
        for _ in range(2):  # the same again
            found.append(np.concatenate([batch[0].numpy() for batch in spoilt]))
    assert all(np.array_equal(one, found[0]) for one in found)


def test_robustness_of_a_real_model(run, folders, tmp_path) -> None:
    model = run("out", trainer={"max_epochs": 6}) / "best.pt"
    asked = {"contrast": [1.0, 0.0], "occlusion": [0.3]}
    evaluate(make_params(evaluate={"corruptions": asked, "bootstrap": 50}), folders, model, tmp_path / "results")
    with (tmp_path / "results/tables/robustness.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["corruption"], row["severity"]) for row in rows] == [
        ("none", ""),
        ("contrast", "1"),
        ("contrast", "0"),
        ("occlusion", "0.3"),
    ]
    scores = [float(row["accuracy"]) for row in rows]
    assert scores[0] == scores[1] == 1.0
    assert float(rows[0]["loss"]) == float(rows[1]["loss"])  # contrast 1 changes no pixel
    assert len({row["loss"] for row in rows}) == 3
    metrics = json.loads((tmp_path / "results/metrics.json").read_text())
    assert metrics["val_corrupted_accuracy"] == pytest.approx((scores[1] / 2 + scores[2] / 2 + scores[3]) / 2)
    Image.open(tmp_path / "results/charts/robustness.png").verify()


def test_the_mean_of_an_image_and_its_mirror_image(run, folders, tmp_path, capsys) -> None:
    model = run("out", trainer={"max_epochs": 1}) / "best.pt"
    data = ProjectData(make_params(), folders, ["val"])
    trained, on = load_model(model), device("cpu")
    plain, both = (predict(trained, data.loader("val"), on, "val", mirrored) for mirrored in (False, True))
    mirror = [(images.flip(-1), targets) for images, targets in data.loader("val")]
    other = predict(trained, mirror, on, "val")
    logits = (np.log(plain.answers) + np.log(other.answers)) / 2
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(both.answers, expected, atol=1e-5)
    own = both.answers[np.arange(len(both)), both.targets]
    np.testing.assert_allclose(both.losses, -np.log(own), atol=1e-4)
    assert not np.allclose(both.answers, plain.answers, atol=1e-5)
    np.testing.assert_allclose(predict(trained, mirror, on, "val", mirrored=True).answers, both.answers, atol=1e-6)

    evaluate(make_params(evaluate={"tta": "flip", "bootstrap": 0}), folders, model, tmp_path / "results")
    metrics = json.loads((tmp_path / "results/metrics.json").read_text())
    assert metrics["val_loss"] == pytest.approx(both.losses.mean())
    assert "intervals" not in metrics
    assert "WARNING" not in capsys.readouterr().out  # the augmentation of this dataset has mirror images
