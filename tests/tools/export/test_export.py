"""Exported models answer as the model does, in the code of the page, and what does not is not written."""

import hashlib
import io
import json
import os
import pickle
import re
import subprocess
import sys
import zipfile
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from formwork.errors import FormworkError
from formwork.interim.settings import Settings
from formwork.models.build import build_model
from formwork.models.model_file import save_model
from formwork.params import Model as ModelParams
from formwork.prediction.model import load_model
from formwork.tools.export.export import export
from formwork.tools.export.formats import FORMATS
from tests.processes import TIMEOUT
from tests.tools.predict.conftest import OF_TASK
from tests.workspace import ROOT

PAGE = ROOT / "docs/export.md"
EXTENSIONS = {name: kind.extension for name, kind in FORMATS.items()}


def save(path: Path, settings: Settings, weights: dict | None = None, **params: object) -> Path:
    model = ModelParams.model_validate(params)
    if weights is None:
        torch.manual_seed(0)
        weights = build_model(model, settings.outputs, settings.resolution).state_dict()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(path, model, settings, weights, epoch=1, val={})
    return path


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three models and photo.png; tests write to it, each under names of its own."""
    folder = tmp_path_factory.mktemp("export")
    for task, settings in OF_TASK.items():
        save(folder / f"{task}.pt", settings)
    recurrent = {"name": "rcnn", "pattern": "101", "blank_after": 1}
    save(folder / "recurrent.pt", OF_TASK["classes"].model_copy(update={"resolution": 12}), **recurrent)
    save(folder / "timm.pt", OF_TASK["classes"].model_copy(update={"resolution": 32}), name="timm/resnet10t")
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    for number in range(3):
        pixels = Image.fromarray(rng.integers(0, 256, (5, 4, 3), np.uint8)).resize((60, 80), Image.Resampling.BICUBIC)
        pixels.save(folder / f"images/{number}.png")
    pixels.save(folder / "photo.png")
    return folder


@pytest.fixture(autouse=True)
def _in_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("classes", "onnx"),
        ("classes", "torch"),
        ("regression", "onnx"),
        ("regression", "safetensors"),
        ("recurrent", "onnx"),
        ("recurrent", "safetensors"),
        ("timm", "torch"),
    ],
)
def test_any_model_answers_the_same_in_every_format(here, model, name):
    out = Path(f"out/{model}{EXTENSIONS[name]}")

    done = export(Path(f"{model}.pt"), name, out, Path("images"))
    about = json.loads(done.files[1].read_text())

    assert done.files == (out, Path(f"{out}.json"))
    assert done.images == "3 images of images"
    assert 0 <= done.difference <= 1e-5
    assert about["file"]["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert about["checked"]["largest_difference"] == done.difference
    assert about["preprocessing"]["center_crop"] is None  # it is Resize
    assert about["versions"]["torch"] == torch.__version__


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_model_gives_the_same_bytes_without_paths_of_this_machine(here, name):
    files = [Path(f"{where}/again{EXTENSIONS[name]}") for where in ("one", "two")]
    for file in files:
        export(Path("classes.pt"), name, file)
    content = files[0].read_bytes()
    assert content == files[1].read_bytes()
    if name == "torch":
        with zipfile.ZipFile(files[0]) as archive:
            content = b"".join(archive.read(each) for each in archive.namelist())
    assert str(ROOT / "src").encode() not in content
    assert b"small_cnn.py" not in content
    assert "64 images of noise" in json.loads(Path(f"{files[0]}.json").read_text())["checked"]["on"]


def test_the_format_is_that_of_the_name_or_the_name_that_of_the_format(here):
    Path("folder").mkdir()

    assert export(Path("classes.pt"), "safetensors", Path("folder")).files[0] == Path("folder/classes.safetensors")
    for name, output, message in (
        (None, "folder", "folder is a folder: say with --format what to write there"),
        (None, "a.bin", r"--output a\.bin: the name must end in \.onnx or \.pt2 or \.safetensors"),
        ("torch", "a.onnx", r"--output a\.onnx: the name must end in \.pt2"),
        ("onyx", "a.onnx", "--format onyx: there is no such format. Did you mean 'onnx'"),
        ("safetensors", "folder/classes.safetensors", "is the model itself"),
    ):
        model = Path("folder/classes.safetensors") if "/" in output else Path("classes.pt")
        with pytest.raises(FormworkError, match=message):
            export(model, name, Path(output))
    with pytest.raises(FormworkError, match=r"--check photos: there is no sound image\."):
        export(Path("classes.pt"), "safetensors", Path("a.safetensors"), Path("photos"))


def test_safetensors_are_a_model_for_the_library(here):
    for task in OF_TASK:
        export(Path(f"{task}.pt"), None, Path(f"lib/{task}.safetensors"))
        model, same = load_model(f"{task}.pt"), load_model(f"lib/{task}.safetensors")

        assert same.settings == model.settings
        assert np.array_equal(*(each.answers(each.preprocess("photo.png")) for each in (model, same)))


NETWORK = """
import torch
class Network(torch.nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.layer = torch.nn.Linear(3, classes)
    def forward(self, images):
        {line}
        return self.layer(images.mean((2, 3)))
def network(classes):
    return Network(classes)
"""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("images = images + torch.rand_like(images)", "file would answer otherwise than repo/models/best.pt: by up to"),
        ("if images.sum() > 0: images = -images", "own/network cannot be exported to torch: "),
    ],
)
def test_own_networks_that_cannot_be_exported_leave_nothing(tmp_path, line, said):
    repo = tmp_path / "repo"
    (repo / "src/own").mkdir(parents=True)
    (repo / "params.yaml").touch()
    (repo / "src/own/__init__.py").touch()
    (repo / "src/own/models.py").write_text(NETWORK.format(line=line))
    layer = torch.nn.Linear(3, 4)
    weights = {f"layer.{name}": value for name, value in layer.state_dict().items()}
    save(repo / "models/best.pt", OF_TASK["classes"], weights, name="own/network")

    done = subprocess.run(
        [sys.executable, ROOT / "src/export.py", "repo/models/best.pt", "--output", "best.pt2"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )

    assert said in done.stdout + done.stderr
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["repo"]


def test_a_missing_package_is_named(here):
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r}); sys.modules['onnxruntime'] = None; import runpy; "
    code += (
        f"sys.argv = ['export.py', 'classes.pt', '--output', 'a.onnx']; runpy.run_path({str(ROOT / 'src/export.py')!r}"
    )
    code += ", run_name='__main__')"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT, check=False)

    assert done.returncode == 1
    assert "ERROR: The format onnx needs the package onnxruntime. Install it: `make setup` in this" in done.stderr


# --- The page ------------------------------------------------------------------------------------


@pytest.mark.parametrize("section", ["ONNX Runtime", "torch.export", "safetensors"])
def test_the_code_of_the_page_says_what_the_model_says(here, section, monkeypatch):
    (code,) = re.findall(rf"^## {section}\n.*?```python\n(.*?)```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    side = {"resolution": 24, "augment_val": [{"CenterCrop": {"ratio": 0.75}}]}
    save(Path("page.pt"), OF_TASK["classes"].model_copy(update=side))
    file = re.search(r'"(digits\.\w+)"', code)[1]
    export(Path("page.pt"), None, Path(file), Path("images"))
    (expected,) = load_model("page.pt").predict("photo.png")
    output = io.StringIO()

    with redirect_stdout(output):
        exec(compile(code, str(PAGE), "exec"), {})

    said, probability = output.getvalue().split()
    assert said == expected.class_name
    assert float(probability) == pytest.approx(expected.probability, abs=2e-3)
    assert len([line for line in code.splitlines() if line and not line.startswith(("import", "from"))]) <= 10


# --- Nothing is unpickled ------------------------------------------------------------------------


class Malicious:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("touched",)


def test_a_file_that_would_run_code_is_not_loaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"settings": Malicious(), "model": {}, "weights": {}}, "torch.pt")
    Path("plain.pt").write_bytes(pickle.dumps(Malicious()))
    torch.save(torch.nn.Linear(2, 2), "module.pt")
    with zipfile.ZipFile("script.pt", "w") as archive:
        archive.writestr("constants.pkl", pickle.dumps(Malicious()))
    Path("x.safetensors").write_bytes(b"\xff" * 100)

    for name in ("torch.pt", "plain.pt", "module.pt", "script.pt", "x.safetensors"):
        with pytest.raises(FormworkError, match=f"{name} is no model") as error:
            load_model(name)
        assert "weights_only" not in str(error.value)

    assert not Path("touched").exists()
