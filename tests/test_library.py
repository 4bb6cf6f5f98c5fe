"""`import formwork` from anywhere: loaders, betons, models and params of a repository, as its stages made them."""

import io
import os
import pickle
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient
from PIL import Image

import formwork
from formwork.beton.read import open_beton
from formwork.conversion.write import write_beton
from formwork.folders import Folders
from formwork.interim.settings import Settings
from formwork.loading.project import ProjectData
from formwork.models.build import build_model
from formwork.models.model_file import save_model
from formwork.params import BetonParams, Model
from tests.make_images import make_dataset, make_manifest
from tests.processes import TIMEOUT
from tests.workspace import ROOT, Workspace

HEAVY = {"torch", "numpy", "numba", "pydantic", "PIL", "yaml", "ffcv", "pytorch_lightning", "torchvision"}


def python(code: str, folder: Path, **environment: str) -> str:
    """Run code in a process of its own, in a folder; what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")} | environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is no repository, and the current one."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


# --- Names --------------------------------------------------------------------------------------


def test_the_public_names() -> None:
    names = ["FormworkError", "__version__", "load_model", "load_params", "open_loader", "read_beton"]

    assert sorted(formwork.__all__) == names
    assert set(names) < set(dir(formwork))
    assert all(getattr(formwork, name).__doc__ for name in names)
    with pytest.raises(AttributeError, match=r"no attribute 'open_loder'. It has .*open_loader"):
        _ = formwork.open_loder


def test_the_version_is_the_one_that_is_installed() -> None:
    project = (ROOT / "pyproject.toml").read_text().split("[project]\n")[1].split("\n[")[0]

    assert f'\nversion = "{formwork.__version__}"\n' in project


def test_the_import_loads_nothing_else(tmp_path: Path) -> None:
    code = "import formwork, sys; print(*{name.split('.')[0] for name in sys.modules})"

    assert HEAVY.isdisjoint(python(code, tmp_path).split())


def test_params_and_betons_are_read_without_torch(base: Workspace, tmp_path: Path) -> None:
    code = f"""
import formwork, sys
formwork.load_params({str(base.path)!r})
formwork.read_beton({str(base / "data/processed/shapes/train.beton")!r})[0]
print(*{{name.split(".")[0] for name in sys.modules}})
"""
    assert {"torch", "ffcv", "torchvision"}.isdisjoint(python(code, tmp_path).split())


# --- open_loader --------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("use_ffcv", [True, False, None])
def test_a_loader_is_the_pipelines(base: Workspace, elsewhere: Path, split: str, use_ffcv: bool | None) -> None:
    params = formwork.load_params(base.path, {"data.use_ffcv": use_ffcv is not False})
    expected = ProjectData(params, Folders.of("shapes", base.path)).loader(split)

    loader = formwork.open_loader(split, repo=base.path, use_ffcv=use_ffcv)

    assert (loader.name, loader.class_names) == ("pytorch" if use_ffcv is False else "ffcv", ("a", "b", "c"))
    for _ in range(2):
        batches = list(loader)
        assert len(batches) == len(loader)
        for (images, labels), (same_images, same_labels) in zip(batches, expected, strict=True):
            assert torch.equal(images, same_images)
            assert torch.equal(labels, same_labels)


def test_epochs_can_be_chosen(base: Workspace, elsewhere: Path) -> None:
    loader = formwork.open_loader("train", repo=str(base.path))
    first, second = (torch.cat([images for images, _ in loader]) for _ in range(2))

    loader.set_epoch(0)
    again = torch.cat([images for images, _ in loader])

    assert torch.equal(again, first)
    assert not torch.equal(again, second)


def test_params_replace_those_of_the_file(base: Workspace, elsewhere: Path) -> None:
    changes = {"data.batch_size": 8, "data.dtype": "uint8"}

    by_key = formwork.open_loader("val", repo=base.path, params=changes)
    whole = formwork.open_loader("val", repo=base.path, params=formwork.load_params(base.path, changes))

    for (images, _), (same, _) in zip(by_key, whole, strict=True):
        assert images.dtype == torch.uint8
        assert len(images) <= 8
        assert torch.equal(images, same)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "tset"}, r"There is no split 'tset'\. Did you mean 'test'\?"),
        ({"split": "train", "params": {"data.batch": 3}}, r"data\.batch: unknown\. Did you mean 'batch_size'\?"),
        (
            {"split": "train", "params": {"data.name": "gone"}},
            r"{repo}/data/interim/gone/dataset.json is missing\. Run",
        ),
        ({"split": "train", "params": {"data.batch_size": 500}}, r"data\.batch_size is 500 and the train split has"),
        ({"split": "train", "device": "gpu"}, r"The device gpu cannot be used: .* Take cpu, or auto\."),
    ],
)
def test_mistakes_are_named_with_the_repository(
    base: Workspace, elsewhere: Path, arguments: dict, message: str
) -> None:
    with pytest.raises(formwork.FormworkError, match=message.format(repo=base.path)):
        formwork.open_loader(**arguments, repo=base.path)


def test_a_folder_that_is_no_repository_is_refused(base: Workspace, elsewhere: Path, monkeypatch) -> None:
    with pytest.raises(formwork.FormworkError, match=f"^{elsewhere} is not the root of .* repo=<the folder of params"):
        formwork.open_loader("train")
    monkeypatch.chdir(base / "data/raw")
    with pytest.raises(formwork.FormworkError, match=f"data/raw is not the root of .*: repo='{base.path}'"):
        formwork.open_loader("train")


def test_the_users_code_is_found(repo: Workspace, tmp_path: Path) -> None:
    """In a process of its own, which has no other `own` on its path."""
    (repo / "src/own/operations.py").write_text(
        "from formwork.loading.augmentation.levels import Solarize\n"
        "class Invert(Solarize):\n"
        "    def __init__(self):\n"
        "        super().__init__(threshold=0)\n"
        'OPERATIONS = {"Invert": Invert}\n'
    )
    (tmp_path / "library").mkdir()
    (tmp_path / "library/formwork").symlink_to(ROOT / "src/formwork")
    code = f"""
import formwork
plain, inverted = (
    formwork.open_loader(
        "val", repo={str(repo.path)!r}, params={{"data.dtype": "uint8", "augment.val": [{{"Resize": {{}}}}, *more]}}
    )
    for more in ([], [{{"Invert": {{}}}}])
)
for (images, _), (others, _) in zip(plain, inverted, strict=True):
    assert (255 - images == others).all()
print("inverted")
"""
    assert python(code, tmp_path, PYTHONPATH=str(tmp_path / "library")) == "inverted\n"


# --- read_beton ---------------------------------------------------------------------------------


def test_a_beton_is_a_sequence_of_images_and_labels(base: Workspace, elsewhere: Path) -> None:
    path = base / "data/processed/shapes/val.beton"
    manifest = ProjectData(formwork.load_params(base.path), Folders.of("shapes", base.path)).splits["val"].manifest

    images = formwork.read_beton(str(path))

    assert len(images) == len(manifest)
    assert images.field_names == ("image", "label")
    assert images.class_names == {0: "a", 1: "b", 2: "c"}
    assert repr(images) == f"<{len(manifest)} images of 3 classes in {path}>"
    assert [label for _, label in images] == images.labels.tolist() == manifest.labels.tolist()
    pixels, label = images[0]
    assert (pixels.shape, pixels.dtype, type(label)) == ((8, 8, 3), np.uint8, int)
    stored = open_beton(path)
    content = path.read_bytes()[stored.offsets[0] :][: stored.sizes[0]]
    assert np.array_equal(pixels, np.asarray(Image.open(io.BytesIO(content))))
    last, _ = images[-1]
    assert np.array_equal(pickle.loads(pickle.dumps(images))[len(images) - 1][0], last)
    with pytest.raises(IndexError):
        images[len(images)]


def test_a_beton_in_parts_has_the_order_and_labels_of_its_manifest(tmp_path: Path) -> None:
    data = tmp_path / "data"
    raw = make_dataset(data / "raw/pets", ["cat", "dog"], per_class=9, size=(20, 20))
    manifest = make_manifest(raw, data / "interim/pets/train.csv")
    path = data / "processed/pets/train.beton"
    write_beton(manifest, raw, path, BetonParams(write_mode="raw", part_mb=0.006), workers=1)
    parts = sorted(path.iterdir())[1:]
    assert len(parts) > 2
    expected = [np.asarray(Image.open(raw / row.path)) for row in manifest.rows]

    images = formwork.read_beton(path)
    assert all(np.array_equal(images[i][0], expected[i]) for i in range(18))
    assert images.labels.tolist() == manifest.labels.tolist()
    assert images.class_names == {0: "cat", 1: "dog"}
    one = formwork.read_beton(parts[0])
    assert 0 < len(one) < 18
    assert [images.class_names[label] for _, label in one] == sorted(images.class_names[label] for _, label in one)
    assert len(formwork.read_beton(parts[:2])) == len(one) + len(formwork.read_beton(parts[1]))

    manifest.path.unlink()
    images = formwork.read_beton(path)
    with pytest.raises(formwork.FormworkError, match="no beton"):
        formwork.read_beton([])
    assert len(images) == 18
    assert images.class_names is None


def test_a_damaged_sample_is_refused(repo: Workspace) -> None:
    path = repo / "data/processed/shapes/val.beton"
    where = int(open_beton(path).offsets[3])
    content = bytearray(path.read_bytes())
    content[where + 200] ^= 1
    path.unlink()  # a link into DVC's cache, it may be
    path.write_bytes(content)

    images = formwork.read_beton(path)

    assert len(images[2]) == 2
    with pytest.raises(formwork.FormworkError, match=r"val.beton: sample 3 cannot be used: .* checksum"):
        images[3]


# --- load_model ---------------------------------------------------------------------------------


def test_a_model_sees_what_the_validation_loader_shows(base: Workspace, elsewhere: Path) -> None:
    loader = formwork.open_loader("val", repo=base.path, use_ffcv=False)
    batches = torch.cat([images for images, _ in loader])
    manifest = ProjectData(formwork.load_params(base.path), Folders.of("shapes", base.path)).splits["val"].manifest
    paths = [base / "data/raw/shapes" / row.path for row in manifest.rows]

    model = formwork.load_model(base / "models/best.pt")

    assert model.class_names == ("a", "b", "c")
    assert torch.equal(model.preprocess(paths), batches)
    with torch.inference_mode():
        expected = model.model(batches).softmax(dim=1).numpy()
    found = model.predict(paths, batch_size=5)
    assert np.allclose([prediction.probabilities for prediction in found], expected, atol=1e-6)
    assert [prediction.label for prediction in found] == expected.argmax(axis=1).tolist()
    for prediction in found:
        assert prediction.class_name == model.class_names[prediction.label]
        assert prediction.probability == prediction.probabilities.max()


def test_files_arrays_and_images_of_pillows_are_the_same_to_a_model(base: Workspace, elsewhere: Path) -> None:
    model = formwork.load_model(str(base / "models/best.pt"))
    path = sorted((base / "data/raw/shapes/a").iterdir())[0]
    image = Image.open(path)
    kinds = [path, str(path), image, np.asarray(image)]

    (expected,) = model.predict(path)

    for prediction in [
        *model.predict(kinds),
        *(model.predict(kind)[0] for kind in kinds),
        *model.predict(np.asarray(image)[None]),
    ]:
        assert prediction.probability == pytest.approx(expected.probability, abs=1e-6)
    assert model.predict([]) == []


def test_arrays_and_tensors_of_every_form_are_what_their_files_are(base: Workspace, elsewhere: Path) -> None:
    model = formwork.load_model(base / "models/best.pt")
    rng = np.random.default_rng(0)
    rgba = rng.integers(0, 256, (9, 7, 4), np.uint8)
    rgb, grey, deep = rgba[..., :3], rgba[..., 0], rng.integers(0, 65536, (9, 7), np.uint16)
    files = {}
    for name, pixels in {"rgba": rgba, "rgb": rgb, "grey": grey, "deep": deep}.items():
        Image.fromarray(np.ascontiguousarray(pixels)).save(f"{name}.png")
        files[name] = model.preprocess(f"{name}.png")
    forms = [
        ("rgb", rgb),
        ("rgb", torch.from_numpy(rgb.copy())),  # (H, W, 3), where the shape leaves no doubt
        ("rgb", torch.from_numpy(rgb.copy()).permute(2, 0, 1)),
        ("rgb", torch.from_numpy(rgb.copy()).permute(2, 0, 1) / 255),
        ("rgb", rgb.astype(np.float64) / 255),
        ("rgb", rgb.astype(np.uint16) << 8),
        ("rgb", torch.from_numpy(rgb.copy()).permute(2, 0, 1).half() / 255),
        ("rgba", rgba),
        ("rgba", torch.from_numpy(rgba).permute(2, 0, 1)),
        ("grey", grey),
        ("grey", grey[..., None]),
        ("grey", torch.from_numpy(grey.copy())[None]),
        ("deep", deep),
    ]

    for name, form in forms:
        assert torch.equal(model.preprocess(form), files[name]), (name, form.shape, form.dtype)
        assert torch.equal(model.preprocess([form]), files[name])
    both = model.preprocess(np.stack([rgb, rgb]))
    assert torch.equal(both, torch.cat([files["rgb"]] * 2))
    assert torch.equal(model.preprocess(grey > 127), model.preprocess((grey > 127).astype(np.float32)))


def test_the_likeliest_classes_come_first(base: Workspace, elsewhere: Path) -> None:
    (prediction,) = formwork.load_model(base / "models/best.pt").predict(np.zeros((8, 8), np.uint8))

    top = prediction.top(5)

    assert top[0] == (prediction.class_name, prediction.probability)
    assert [value for _, value in top] == sorted(prediction.probabilities.tolist(), reverse=True)
    assert prediction.top(1) == top[:1]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("gone.png", "gone.png cannot be used: No such file"),
        ("text.png", "text.png cannot be used: cannot identify image file"),
        (".", "cannot be used: Is a directory"),
        (np.zeros(4, np.uint8), r"An array must be \(H, W\), .* one is \(4,\) of uint8\."),
        (np.zeros((3, 9, 8), np.uint8), r"is \(3, 9, 8\) of uint8: one image with its channels first, or several grey"),
        (np.zeros((5, 9, 8), np.uint8), r"one is \(5, 9, 8\) of uint8\. A batch has one more axis, or is a list\."),
        (np.zeros((0, 9, 3), np.uint8), r"one is \(0, 9, 3\) of uint8"),
        (torch.zeros(2, 9, 8), r"one is \(2, 9, 8\) of float32"),
        (np.zeros((4, 4), np.int64), r"must be uint8, .* or floats from 0 to 1; an image is \(4, 4\) of int64"),
        (np.full((4, 4), 200.0), r"those of an image \(4, 4\) of float64 lie between 200 and 200"),
        (torch.full((3, 4, 4), -0.5), r"lie between -0\.5 and -0\.5\. Give the image as it was before it was norm"),
        (np.full((4, 4), np.nan), "lie between nan and nan"),
        ([b"bytes"], "An image must be a path, an array, a tensor or an image of Pillow's, not b'bytes'"),
        (Image.new("F", (3, 3)), "An image cannot be used: pixels of Pillow's mode F"),
    ],
)
def test_what_is_no_image_is_refused(base: Workspace, elsewhere: Path, image: object, message: str) -> None:
    Path("text.png").write_text("text")

    with pytest.raises(formwork.FormworkError, match=message):
        formwork.load_model(base / "models/best.pt").predict(image)


def test_a_device_that_is_not_there_is_refused(base: Workspace) -> None:
    with pytest.raises(formwork.FormworkError, match=r"The device cude cannot be used: .* Take cpu, or auto\."):
        formwork.load_model(base / "models/best.pt", device="cude")


def test_a_recurrent_model_is_shown_each_image_as_often_as_in_training(elsewhere: Path) -> None:
    settings = Settings(
        name="noise",
        class_names=["a", "b"],
        resolution=8,
        mean=[0.5] * 3,
        std=[0.2] * 3,
        augment_train=[],
        augment_val=[{"Resize": {}}],
    )
    torch.manual_seed(0)
    weights = build_model(Model(name="rcnn"), 2, 8).state_dict()
    images = list(np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8))
    found = {}
    for timesteps in (1, 3):
        rcnn = Model(name="rcnn", timesteps=timesteps)
        save_model(Path("rcnn.pt"), rcnn, settings, weights, epoch=1, val={"accuracy": 0.5})
        model = formwork.load_model("rcnn.pt")
        found[timesteps] = np.stack([prediction.probabilities for prediction in model.predict(images)])
        batch = model.preprocess(images)
        with torch.inference_mode():
            expected = model.model(torch.stack([batch] * timesteps, dim=1))[:, -1].softmax(dim=1)
        assert np.allclose(found[timesteps], expected.numpy(), atol=1e-6)
    assert not np.allclose(found[1], found[3], atol=1e-6)


def test_a_missing_model_is_named(elsewhere: Path) -> None:
    with pytest.raises(formwork.FormworkError, match=r"best\.pt is missing"):
        formwork.load_model("best.pt")


# --- A notebook ---------------------------------------------------------------------------------


def test_the_page_works_in_a_notebook(base: Workspace, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of docs/library.md, a cell for each part of it."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    (example,) = (ROOT / "docs/library.md").read_text().split("```python\n")[1:]
    example = example.split("```")[0].replace("path/to/repository", str(base.path)).replace("digits", "shapes")
    cells = [nbformat.v4.new_code_cell(cell) for cell in example.split("\n\n")]
    notebook = nbformat.v4.new_notebook(cells=cells)

    NotebookClient(notebook, timeout=TIMEOUT, resources={"metadata": {"path": str(elsewhere)}}).execute()

    printed = ["".join(output.text for output in cell.outputs) for cell in notebook.cells]
    assert printed[2] == "torch.Size([16, 3, 8, 8]) torch.Size([16]) ('a', 'b', 'c')\n"
    assert printed[3].startswith(f"{len(formwork.read_beton(base / 'data/processed/shapes/train.beton'))} (8, 8, 3) ")
    assert printed[4].split()[0] in "abc"
