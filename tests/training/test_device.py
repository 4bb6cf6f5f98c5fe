"""A training whose batches are on their way to a device, one ahead."""

import os
import signal
import threading

import pytest

from formwork.loading.base import BaseLoader
from formwork.signals import Interrupted
from formwork.training.module import ImageModule
from tests.loading.slow_device import SlowDevice
from tests.training.forked import note_signals

pytestmark = pytest.mark.slow


@pytest.fixture
def devices(monkeypatch) -> list[SlowDevice]:
    """From now on all batches go to slow devices: these."""
    made: list[SlowDevice] = []

    def destination(loader: BaseLoader) -> SlowDevice:
        if "slow device" not in loader.__dict__:
            loader.__dict__["slow device"] = SlowDevice(loader.config)
            made.append(loader.__dict__["slow device"])
        return loader.__dict__["slow device"]

    monkeypatch.setattr(BaseLoader, "destination", property(destination))
    return made


SECTIONS = {
    "plain": {"trainer": {"max_epochs": 2, "limit_train_batches": 2}},
    "sequence": {"model": {"name": "rcnn", "timesteps": 2}, "trainer": {"max_epochs": 1}},
}


@pytest.mark.parametrize("name", SECTIONS)
def test_images_normalised_on_the_device_train_the_same_model(run, monkeypatch, request, name):
    expected = run("expected", **SECTIONS[name])
    devices = request.getfixturevalue("devices")
    found = run("found", data={"dtype": "uint8"}, **SECTIONS[name])
    assert (found / "best.pt").read_bytes() == (expected / "best.pt").read_bytes()
    assert (found / "train/metrics.json").read_bytes() == (expected / "train/metrics.json").read_bytes()
    assert {device.changed for device in devices} == {0}
    assert len(devices) == 2  # of train and val
    assert {device.under_way for device in devices} == {0}


def test_an_interrupted_training_goes_on_with_the_batch_that_was_copied_and_not_used(run, devices, monkeypatch):
    sections = {"data": {"dtype": "uint8"}, "trainer": {"max_epochs": 2}}
    whole, steps, step = run("whole", **sections), [], ImageModule.training_step

    def stop(module, batch):
        steps.append(batch)
        if len(steps) == 4:
            os.kill(os.getpid(), signal.SIGTERM)
            heard()
        return step(module, batch)

    with monkeypatch.context() as patch:
        heard = note_signals(patch.setattr)
        patch.setattr(ImageModule, "training_step", stop)
        with pytest.raises(Interrupted):
            run("parts", **sections)
    assert {device.under_way for device in devices} == {0}
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("FFCVDataLoader")]
    parts = run("parts", **sections)
    assert len(steps) == 4
    assert (parts / "best.pt").read_bytes() == (whole / "best.pt").read_bytes()
    assert (parts / "train/metrics.json").read_bytes() == (whole / "train/metrics.json").read_bytes()
