"""Betons and batches are the same bit for bit, whatever of ffcv, libturbojpeg, simplejpeg and numba is missing."""

import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import formwork
from formwork.conversion.write import write_beton
from formwork.datasets.link import link
from formwork.images.manifest import read_manifest
from formwork.loading.base import SplitFiles
from formwork.loading.ffcv_loader import FFCVDataLoader
from formwork.params import BetonParams, Params
from tests.conftest import Shared
from tests.loading.conftest import CLASSES, TRAIN, make_config
from tests.make_images import photo
from tests.processes import TIMEOUT

pytestmark = pytest.mark.slow

ALL = [
    *TRAIN,
    {"ColorJitter": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}},
    {"RandomGrayscale": {"p": 0.3}},
    {"RandomSolarize": {"threshold": 100, "p": 0.3}},
    {"GaussianBlur": {"kernel_size": 3, "p": 0.5}},
    {"RandAugment": {"interpolation": "bilinear"}},
    {"GaussianNoise": {"p": 0.5}},
    {"RandomErasing": {}},
    {"Cutout": {"crop_size": 4}},
]
CONFIGS = {
    "one pass": make_config(order="random"),
    "one pass, read again": make_config([{"Resize": {}}], os_cache=False, dtype="float16"),
    "pixel operations": make_config(ALL, dtype="bfloat16", resolution_schedule=((1, 9),)),
    "mixed": make_config([*ALL, {"Mixup": {"p": 0.3}}, {"CutMix": {"p": 0.5}}], class_names=CLASSES, dtype="uint8"),
}
BETONS = {
    "passed through": BetonParams(write_mode="jpg", restart_markers="all"),
    "encoded": BetonParams(write_mode="jpg", passthrough=False, max_resolution=200, jpeg_quality=85),
    "raw": BetonParams(write_mode="raw", max_resolution=100),
}

SCRIPT = """
import sys
split, folder, *missing = sys.argv[1:]
sys.modules.update(dict.fromkeys(missing))  # before anything else is imported: importing them is an ImportError

import pickle
from pathlib import Path
from formwork.kernels import libjpeg
if "libturbojpeg" in missing:
    libjpeg.LIBRARIES = ()
assert (libjpeg.library() is None) == ("libturbojpeg" in missing)

from tests.loading.test_plain import results
print(results(pickle.loads(Path(split).read_bytes()), Path(folder)))
assert "ffcv.loader" not in sys.modules
assert "pytorch_lightning" not in sys.modules
"""
WARNING = "Kernels are not compiled: "


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> SplitFiles:
    """JPEGs of all kinds, some of which only libjpeg-turbo decodes, some with needless bytes that it warns of."""
    data = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(24):
        width, height = rng.integers(1, 300, size=2).tolist()
        buffer = io.BytesIO()
        subsampling = ("4:4:4", "4:2:2", "4:2:0")[number % 3]
        photo(rng, width, height).save(buffer, "JPEG", subsampling=subsampling, progressive=number % 4 == 1)
        content = buffer.getvalue()
        if number % 4 == 2:
            scan = content.index(b"\xff\xda")
            content = content[:scan] + b"needless" + content[scan:]
        path = data / "raw/mine" / ("val" if number > 20 else "train") / f"class {number % 3}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    link(Params.model_validate({"data": {"name": "mine"}}), data / "raw/mine", data / "interim", data / "bad.csv")
    manifest = read_manifest(data / "interim/train.csv")
    assert len(manifest) == 21
    return SplitFiles("train", manifest, data / "train.beton", data / "raw/mine")


def results(split: SplitFiles, folder: Path) -> str:
    """Digests, as JSON, of betons and of all batches of two epochs, by name."""
    digests = {}
    for stored, params in BETONS.items():
        beton = folder / f"{stored}.beton"
        write_beton(split.manifest, split.raw, beton, params, 2)
        digests[stored] = hashlib.sha256(beton.read_bytes()).hexdigest()
        for name, config in CONFIGS.items():
            loader = FFCVDataLoader(SplitFiles("train", split.manifest, beton, split.raw), config)
            digest = hashlib.sha256()
            for _ in range(2):
                for images, labels in loader:
                    for tensor in (images, labels):
                        digest.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
                        digest.update(tensor.contiguous().view(torch.uint8).numpy().tobytes())
            digests[f"{stored}, {name}"] = digest.hexdigest()
    return json.dumps(digests)


@pytest.fixture(scope="module")
def expected(photos: SplitFiles, shared: Shared) -> dict[str, str]:
    """Of the kernels, with nothing missing. It takes seconds: once for all processes that run tests."""

    def make(folder: Path) -> None:
        (folder / "results.json").write_text(results(photos, folder))

    return json.loads((shared("plain-expected", make) / "results.json").read_text())


def process(split: SplitFiles, folder: Path, *missing: str, **environment: str) -> tuple[dict[str, str], list[str]]:
    """The results of a process without these modules, and the lines that it wrote to stderr, but for progress bars."""
    (folder / "split").write_bytes(pickle.dumps(split))
    root = Path(formwork.__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)])} | environment
    command = [sys.executable, "-c", SCRIPT, str(folder / "split"), str(folder), *missing]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), [line for line in done.stderr.splitlines() if "Warning" in line]


@pytest.mark.parametrize(
    "missing",
    [("ffcv",), ("ffcv", "libturbojpeg"), ("ffcv", "libturbojpeg", "simplejpeg")],
    ids=["libturbojpeg", "simplejpeg", "Pillow"],
)
@pytest.mark.parametrize("kernels", ["compiled", "plain"])
def test_nothing_that_is_missing_changes_a_bit(
    photos: SplitFiles, expected: dict[str, str], tmp_path: Path, missing: tuple[str, ...], kernels: str
) -> None:
    if kernels == "plain":
        missing = (*missing, "numba", "llvmlite")

    assert process(photos, tmp_path, *missing, FORMWORK_KERNELS=kernels) == (expected, [])


@pytest.mark.parametrize(
    ("missing", "environment", "reason"),
    [
        (("numba",), {}, "numba cannot be used (ModuleNotFoundError: "),
        (("llvmlite",), {}, "numba cannot be used (ModuleNotFoundError: "),
        ((), {"NUMBA_DISABLE_JIT": "1"}, "NUMBA_DISABLE_JIT is set"),
        ((), {"NUMBA_CPU_NAME": "generic"}, "the CPU that numba compiles for has no "),
    ],
    ids=["no numba", "no llvmlite", "no compiler", "generic CPU"],
)
def test_where_numba_cannot_compile_one_warning_says_why(
    photos: SplitFiles,
    expected: dict[str, str],
    tmp_path: Path,
    missing: tuple[str, ...],
    environment: dict,
    reason: str,
) -> None:
    found, warnings = process(photos, tmp_path, *missing, FORMWORK_KERNELS="", **environment)

    assert found == expected
    (warning,) = warnings
    assert WARNING + reason in warning
