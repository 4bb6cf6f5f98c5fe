"""When FFCV cannot load, the reason is named after one fixed sentence; or it is an error, where asked for."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import formwork
from formwork.errors import FormworkError
from formwork.images.manifest import write_manifest
from formwork.loading.factory import FALLBACK, make_loader
from tests import permissions
from tests.loading.conftest import make_config
from tests.operations import REASON
from tests.processes import TIMEOUT

pytestmark = pytest.mark.slow


def missing(split):
    split.beton.unlink()
    return split, "is missing. Run `dvc pull "


def unreadable(split):
    split.beton.chmod(0)
    return split, f"Run `chmod 644 {split.beton}`"


def cut_short(split):
    os.truncate(split.beton, split.beton.stat().st_size - 5)
    return split, "is damaged or no beton: "


def not_a_beton(split):
    split.beton.write_bytes(b"something else" * 1000)
    return split, "is damaged or no beton: its format version is "


def of_another_manifest(split):
    manifest = write_manifest(split.beton.with_suffix(".csv"), split.manifest.rows[1:])
    return replace(split, manifest=manifest), "was made from another version of "


@pytest.mark.parametrize("damage", [missing, unreadable, cut_short, not_a_beton, of_another_manifest])
def test_a_beton_that_cannot_be_used(make_split, damage):
    split, reason = damage(make_split())
    options = make_config(num_workers=0)
    with permissions.enforced():
        with pytest.raises(FormworkError) as refused:
            make_loader(split, options, use_ffcv=True, fallback="error")
        with pytest.warns(UserWarning, match=FALLBACK) as warned:
            loader = make_loader(split, options, use_ffcv=True)
    assert loader.name == "pytorch"
    assert sum(len(labels) for _, labels in loader) == len(split.manifest)
    (warning,) = warned
    assert str(warning.message).startswith(f"{FALLBACK}: {split.beton}")
    assert reason in str(warning.message)
    assert str(refused.value).startswith(f"FFCV loading failed: {split.beton}")
    assert reason in str(refused.value)
    assert "ffcv.fallback: warn" in str(refused.value)


def test_an_operation_of_ones_own_that_cannot_be_compiled(split, uncompiled):
    options = make_config([{"RandomHorizontalFlip": {}}, uncompiled])
    with pytest.warns(UserWarning, match=f"{FALLBACK}: {REASON.format(20)}"):
        assert make_loader(split, options, use_ffcv=True).name == "pytorch"
    with pytest.raises(FormworkError, match=f"FFCV loading failed: {REASON.format(20)}"):
        make_loader(split, options, use_ffcv=True, fallback="error")


def test_an_operation_of_ffcv_without_ffcv_is_refused_when_the_list_is_made(tmp_path):
    # A fresh interpreter that finds another `ffcv` first: an installation that is broken, or none, look the same.
    (tmp_path / "ffcv.py").write_text("raise ImportError('libopencv_core.so: cannot open shared object file')")
    script = """
from formwork.errors import AugmentationError
from formwork.loading.augmentation.augmentation import Augmentation
try:
    Augmentation([{"ffcv.Cutout": {"crop_size": 2}}], 8, 0, "augment.train")
except AugmentationError as error:
    print(error)
"""
    path = os.pathsep.join([str(tmp_path), str(Path(formwork.__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": path},
        check=False,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.stdout.startswith(
        "augment.train: ffcv.Cutout: the package ffcv cannot be imported (libopencv_core.so: cannot open"
    ), done.stderr
    assert "Run `make setup`" in done.stdout


def test_nothing_is_said_when_ffcv_loads_or_is_not_wanted(split, recwarn):
    assert make_loader(split, make_config(), use_ffcv=True).name == "ffcv"
    assert make_loader(split, make_config(), use_ffcv=False).name == "pytorch"
    assert not recwarn.list
