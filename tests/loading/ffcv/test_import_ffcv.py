"""A second process starts at once: it finds every kernel compiled, whatever workspace it runs in."""

import os
import pickle
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ffcv.fields.decoders import IntDecoder, RandomResizedCropRGBImageDecoder
from ffcv.transforms import ToTensor
from numba import types

import formwork
from formwork.kernels import compile as kernel_cache
from formwork.loading.ffcv import import_ffcv as quick
from tests.loading.conftest import TRAIN, make_config

SOURCES = Path(formwork.__file__).parents[1]

LOAD = """
import pickle, sys
from numba.core import event
with event.install_recorder("numba:compile") as compiled:
    from formwork.loading.ffcv_loader import FFCVDataLoader
    with open(sys.argv[1], "rb") as file:
        split, all_options = pickle.load(file)
    images = 0
    for options in all_options:
        for _ in range(2):
            images += sum(len(labels) for _, labels in FFCVDataLoader(split, options))
from formwork.kernels.compile import cache_folder
print(images, len(compiled.buffer), cache_folder())
"""


# One small kernel, for what is the same for all of them: the others take ten seconds to compile.
SMALL = """
from numba.core import event
with event.install_recorder("numba:compile") as compiled:
    from formwork.loading.random_numbers import uniform
    numbers = uniform(0, 0, [1, 2, 3], "test")
from formwork.kernels.compile import cache_folder
print(len(numbers), len(compiled.buffer), cache_folder())
"""


def start(script: str, cache: Path, *arguments: Path, sources: Path = SOURCES) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(sources), "XDG_CACHE_HOME": str(cache)}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def run(*arguments, **options) -> tuple[int, int, Path]:
    """(what was made, compilations, folder of the kernels) of a process that runs a script."""
    output, _ = start(*arguments, **options).communicate(timeout=120)
    made, compilations, folder = output.split()
    return int(made), int(compilations), Path(folder)


def copied(path: Path) -> Path:
    return shutil.copytree(SOURCES, path / "src", ignore=shutil.ignore_patterns("__pycache__"))


def test_a_second_process_compiles_nothing_in_any_workspace_with_any_options(split, tmp_path):
    (tmp_path / "plain").write_bytes(pickle.dumps((split, [make_config()])))
    images, compilations, folder = run(LOAD, tmp_path / "cache", tmp_path / "plain")
    assert (images, folder.parents[2]) == (140, tmp_path / "cache")
    assert compilations > 0

    others = [
        make_config(os_cache=False, order="random", batch_size=7, num_workers=1),
        make_config([{"CenterCrop": {"ratio": 0.8}}], resolution_schedule=((0, 12), (1, 30))),
        make_config([{"RandomResizedCrop": {"scale": [0.5, 0.9]}}, *TRAIN[1:]], order="quasi_random", timesteps=3),
    ]
    (tmp_path / "others").write_bytes(pickle.dumps((split, others)))
    sources = copied(tmp_path / "clone")
    assert run(LOAD, tmp_path / "cache", tmp_path / "others", sources=sources) == (420, 0, folder)


def test_kernels_are_those_of_the_sources(tmp_path):
    # numba itself looks for changes in the file of the compiled function alone, not in those it calls.
    _, _, folder = run(SMALL, tmp_path / "cache")
    sources = copied(tmp_path / "clone")
    with (sources / "formwork/beton/format.py").open("a") as file:
        file.write("# changed\n")
    _, compilations, other = run(SMALL, tmp_path / "cache", sources=sources)
    assert compilations > 0
    assert other != folder


def test_processes_that_start_together_do_not_disturb_each_other(tmp_path):
    processes = [start(SMALL, tmp_path / "cache") for _ in range(4)]
    outputs = [process.communicate(timeout=120)[0].split() for process in processes]
    assert [output[0] for output in outputs] == ["3"] * 4
    assert run(SMALL, tmp_path / "cache")[:2] == (3, 0)


def test_where_nothing_can_be_kept_it_still_works_and_leaves_nothing(tmp_path):
    (tmp_path / "cache").touch()  # where a folder is wanted: for root, too
    made, compilations, folder = run(SMALL, tmp_path / "cache")
    assert made == 3
    assert compilations > 0
    assert not folder.exists()


def test_what_a_loss_of_power_leaves_is_compiled_again(tmp_path):
    _, _, folder = run(SMALL, tmp_path / "cache")
    for file in folder.glob("*.nb[ic]"):
        os.truncate(file, 0)
    made, compilations, _ = run(SMALL, tmp_path / "cache")
    assert made == 3
    assert compilations > 0
    assert run(SMALL, tmp_path / "cache")[1] == 0


def test_kernels_of_sources_that_nobody_uses_any_more_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(kernel_cache.config, "CACHE_DIR", str(tmp_path))
    old, recent = tmp_path / "formwork/kernels/old", tmp_path / "formwork/kernels/recent"
    old.mkdir(parents=True)
    recent.mkdir()
    os.utime(old, (0, time.time() - kernel_cache.KEPT - 60))
    assert kernel_cache.cache_folder.__wrapped__() == tmp_path / f"formwork/kernels/{kernel_cache.source_digest()}"
    assert not old.exists()
    assert recent.exists()


@pytest.mark.parametrize("os_cache", [True, False])
def test_stock_ffcv_works_beside_it(split, os_cache):
    image = RandomResizedCropRGBImageDecoder((8, 8))
    pipelines = {"image": [image, ToTensor()], "label": [IntDecoder(), ToTensor()]}
    labels = []
    for images, numbers in quick.Loader(str(split.beton), 10, num_workers=1, os_cache=os_cache, pipelines=pipelines):
        assert images.shape == (10, 8, 8, 3)
        labels += numbers.flatten().tolist()  # at once: FFCV overwrites its batches
    assert labels == split.manifest.labels.tolist()
    # FFCV itself makes these types read-only, for the whole process.
    assert all(array.mutable for array in (types.uint8[::1], types.uint8[:, ::1], types.uint64[::1], types.uint32[::1]))
