"""The benchmark of training on a GPU, on the CPU: every line of it runs, and says what it should of given figures."""

import argparse
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.contenders import EpochLoader
from benchmarks.gpu_page import DALI, NVJPEG, OURS, STAYS, Curves, Measured, body
from benchmarks.loader_page import STOCK
from benchmarks.workloads import Prepared
from formwork.errors import FormworkError
from formwork.loading.ffcv.import_ffcv import Compiler
from formwork.tools.measure import Rates
from tests.benchmarks.conftest import IMAGES

pytestmark = pytest.mark.slow
CPU = torch.device("cpu")
SIZE = gpu.Size(IMAGES, 4, 32)


@pytest.fixture(scope="module")
def found(prepared: Callable[[str], Prepared]) -> Measured:
    """Of photos of 32 pixels; FFCV's loader is not compiled, which takes long."""
    photos = prepared("photo")
    Compiler.set_enabled(False)
    try:
        return gpu.measure(replace(photos, workload=SIZE.of(photos.workload)), CPU, ["resnet18"], workers=1, rounds=1)
    finally:
        Compiler.set_enabled(True)


def test_every_loader_trains_and_one_that_is_missing_is_left_out(found: Measured) -> None:
    rates, waited = found.rates["resnet18"], found.waited["resnet18"]
    assert rates.keys() | found.left_out.keys() == gpu.FEEDS.keys()
    assert found.left_out.keys() == (set() if importlib.util.find_spec("nvidia.dali") else {DALI})
    assert {STAYS, OURS, STOCK, NVJPEG} <= rates.keys()
    assert all(rate.values[0] > 0 for rate in rates.values())
    assert all(0 <= share < 1 for share in waited.values())
    assert list(found.alone) == [1]
    text = body([found], None, SIZE.batch_size, rounds=1)
    assert f"| {STAYS} |" in text
    assert all(f"- {name}: ModuleNotFoundError: No module named" in text for name in found.left_out)


def test_images_normalised_on_the_device_give_the_same_losses(found: Measured) -> None:
    assert found.curves.there == found.curves.by_kernels
    assert len(set(found.curves.there)) == len(found.curves.there) == IMAGES // SIZE.batch_size
    assert str(found.curves) == "the images of 5 of 5 batches are the same bit for bit, and the losses are, too"
    assert str(Curves(3, [1.0, 2.0, 3.0], [1.0, 2.5, 3.0])).endswith("losses differ from step 2 on, by 0.5 at most")


def test_the_page_says_whether_the_aims_are_met() -> None:
    def measured(name: str, ours: float, waited: float) -> Measured:
        rates = {STAYS: Rates((1000.0,)), OURS: Rates((ours,))}
        waits = {STAYS: 0.001, OURS: waited}
        return Measured(
            name, 2, {"resnet50": rates}, {"resnet50": waits}, {}, {1: rates[OURS]}, Curves(1, [1.0], [1.0])
        )

    text = body([measured("a", 985, 0.015), measured("b", 990, 0.02), measured("c", 970, 0.01)], "a GPU", 256, 3)

    assert "met on a (98.5%, 1.5%), missed on b (99.0%, 2.0%), missed on c (97.0%, 1.0%)." in text
    assert "| FFCVDataLoader (Formwork) | 985 ± 0% | **98.5%** | 1.5% |" in text


def test_batches_that_are_not_like_the_others_are_refused() -> None:
    training = gpu.Training("resnet18", CPU)
    images, labels = torch.zeros(2, 3, 32, 32).contiguous(memory_format=torch.channels_last), torch.zeros(2).long()
    assert gpu.epoch("x", training, [(images, labels)] * 2)[0] > 0
    for wrong in ((images.contiguous(), labels), (images.half(), labels), (images, labels.int())):
        with pytest.raises(FormworkError, match=r"x gives .* cannot be compared"):
            gpu.epoch("x", training, [wrong] * 2)
    with pytest.raises(FormworkError, match="less than two steps"):
        gpu.epoch("x", training, [(images, labels)])


def test_a_loader_of_others_that_fails_is_left_out_and_ours_is_not() -> None:
    def failing() -> Iterator:
        raise RuntimeError("nvJPEG is missing\nand more")
        yield

    training = gpu.Training("resnet18", CPU)
    batch = torch.zeros(2, 3, 32, 32).contiguous(memory_format=torch.channels_last), torch.zeros(2).long()
    left_out: dict[str, str] = {}
    rates, waited = gpu.trained(training, {STAYS: [batch] * 2, NVJPEG: EpochLoader(failing)}, 1, left_out)
    assert rates.keys() == waited.keys() == {STAYS}
    assert left_out == {NVJPEG: "RuntimeError: nvJPEG is missing"}
    with pytest.raises(RuntimeError, match="nvJPEG is missing"):
        gpu.trained(training, {OURS: EpochLoader(failing)}, 1, left_out)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., None]:
    def go(*options: str) -> None:
        parser = argparse.ArgumentParser()
        gpu.add_arguments(parser)
        gpu.main(parser.parse_args([*options, "--page", str(tmp_path / "page.md"), "--results", str(tmp_path)]))

    return go


def test_a_rehearsal_on_the_cpu_writes_nothing(
    run: Callable[..., None],
    found: Measured,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setattr(gpu, "prepare", lambda workload, folder, images: workload.name)
    monkeypatch.setattr(gpu, "measure", lambda name, *_: replace(found, workload=name))
    run("--device", "cpu")
    said = capsys.readouterr().out
    assert all(f"**{name}**" in said for name in ("photo, jpg 256", "photo, raw 256", "photo, originals"))
    assert "The aim is" not in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--device", "cpu", "--only", "photo, jpeg"], r"--only photo, jpeg: no such workload\. Did you mean"),
        pytest.param(
            [],
            "torch finds no GPU here. `--device cpu` runs every line",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is one"),
        ),
    ],
)
def test_what_cannot_be_measured_is_an_error(options: list[str], message: str, run: Callable[..., None]) -> None:
    with pytest.raises(FormworkError, match=message):
        run(*options)


def test_a_model_that_is_none_is_refused(run: Callable[..., None], capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        run("--models", "resnet18,resnet5")
    assert "'resnet5' is none of resnet18, resnet50" in capsys.readouterr().err
