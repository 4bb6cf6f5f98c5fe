"""With os_cache: false the memory in use stays bounded, however large the file is."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import formwork
from formwork.conversion.write import write_beton
from formwork.loading.base import SplitFiles
from formwork.params import BetonParams
from tests.loading.conftest import make_config
from tests.make_images import make_manifest
from tests.processes import TIMEOUT

pytestmark = pytest.mark.slow

SIDE, COUNT = 128, 3000  # 147 MB of pixels
LIMIT = 40_000_000  # bytes that an epoch may add to what the first batches need

EPOCH = """
import pickle, sys
import psutil
from formwork.loading.ffcv_loader import FFCVDataLoader

with open(sys.argv[1], "rb") as file:
    split, options = pickle.load(file)
loader, process, most, start = FFCVDataLoader(split, options), psutil.Process(), 0, 0
for number, (images, labels) in enumerate(loader):
    used = process.memory_info().rss
    start = used if number == 20 else start
    most = max(most, used)
print(most - start, number + 1)
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> SplitFiles:
    """A file of 147 MB: the same few images many times, under other names."""
    folder = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(0)
    paths = [folder / f"raw/{number % 2}/{number:05d}.bmp" for number in range(COUNT)]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        if number < 10:
            Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(path)
        else:
            os.link(paths[number % 10], path)
    manifest = make_manifest(folder / "raw", folder / "train.csv")
    write_beton(manifest, folder / "raw", folder / "train.beton", BetonParams(write_mode="raw"), workers=2)
    return SplitFiles("train", manifest, folder / "train.beton", folder / "raw")


@pytest.mark.parametrize("order", ["random", "quasi_random"])
def test_an_epoch_of_a_large_file_needs_little_memory(large, tmp_path, order):
    assert large.beton.stat().st_size > 3 * LIMIT
    options = make_config([{"Resize": {}}], order=order, os_cache=False, batch_size=32)
    (tmp_path / "arguments").write_bytes(pickle.dumps((large, options)))
    environment = os.environ | {"PYTHONPATH": str(Path(formwork.__file__).parents[1])}
    command = [sys.executable, "-c", EPOCH, str(tmp_path / "arguments")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 0, done.stderr
    grown, batches = map(int, done.stdout.split())
    assert batches == -(-COUNT // 32)
    assert grown < LIMIT
