"""A dataset whose names steer terminals, forge lines and are formulas, shown by every stage and tool."""

import csv
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from formwork.beton.read import open_beton
from formwork.conversion.write import write_beton
from formwork.datasets.link import link
from formwork.errors import FormworkError
from formwork.evaluation.evaluate import evaluate
from formwork.folders import Folders
from formwork.images.manifest import read_manifest
from formwork.interim.settings import read_settings
from formwork.loading.project import ProjectData
from formwork.models.build import build_model
from formwork.models.model_file import save_model
from formwork.params import Model, Params
from formwork.tools.inspect.contents import contents_of, find_manifest
from formwork.tools.inspect.describe import describe
from formwork.tools.inspect.verify import verify
from formwork.tools.preview.preview import preview
from formwork.tools.report.sections import report
from tests.make_images import make_dataset

CLASSES = ["=cmd()", "+1", "-x", "@x", "\x1b[31mred", "two\nERROR: lines", "\u202egnp", "<script>alert(1)<", "$a_$|`b`"]
UNSAFE = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
DATA = {"name": "evil", "split": {"val": 0.4, "test": 0}, "num_workers": 0, "batch_size": 8, "on_bad_image": "skip"}
SPLITS = ("train", "val")


def make_params(**data: object) -> Params:
    return Params.model_validate({"data": DATA | data, "trainer": {"accelerator": "cpu"}})


def is_safe(shown: str) -> bool:
    return not UNSAFE.search(shown) and "\nERROR: lines" not in shown


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project, linked, converted and evaluated. Each image is called after its class, and so is one that is none."""
    root = tmp_path_factory.mktemp("evil")
    params, folders = make_params(), Folders.of("evil", root)
    make_dataset(folders.raw, CLASSES, per_class=8, size=(8, 8))
    for name in CLASSES:
        for path in (folders.raw / name).iterdir():
            path.rename(path.with_name(f"{name}{path.name}"))
        (folders.raw / name / f"{name}.png").write_text("none")
    link(params, folders.raw, folders.interim, root / "findings.csv")
    for split in SPLITS:
        manifest = read_manifest(folders.manifest(split))
        write_beton(manifest, folders.raw, folders.beton(split), params.ffcv.beton, 1)
    settings = read_settings(folders.settings)
    weights = build_model(Model(name="small_cnn"), len(CLASSES), settings.resolution).state_dict()
    save_model(root / "best.pt", Model(), settings, weights, epoch=1, val={"accuracy": 0.5})
    evaluate(params, folders, root / "best.pt", root / "results/evaluate")
    return root


@contextmanager
def error_in(said: list[str]) -> Iterator[None]:
    """Add the message of the error that the block ends with."""
    with pytest.raises(FormworkError) as raised:
        yield
    said.append(str(raised.value))


@pytest.mark.parametrize("name", ["confusion.csv", "class_accuracy.csv", "metrics.json"])
def test_the_tables_of_the_evaluation_are_safe(evil: Path, name: str) -> None:
    text = (evil / "results/evaluate" / name).read_text(encoding="utf-8")
    assert is_safe(text)
    fields = [field for line in csv.reader(text.splitlines()) for field in line]
    assert not [field for field in fields if field.startswith(("=", "+", "-", "@"))]


def test_what_tools_print_and_write_is_safe(evil: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(evil)
    folders = Folders.of("evil", Path())

    betons = [open_beton(folders.beton(split)) for split in SPLITS]
    said = [describe(beton, contents_of(beton, find_manifest(beton, None))) for beton in betons]
    said += [describe(beton, contents_of(beton, None)) for beton in betons]
    said += preview(make_params(), folders, tmp_path / "preview.png")
    report(make_params(), folders, tmp_path / "report.html")

    said.append((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert all(map(is_safe, said))
    assert r"\x1b[31mred" in said[0]
    assert r"\x1b[31mred" in said[-1]
    assert "<script>alert" not in said[-1]


def test_errors_about_samples_are_safe(evil: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folders = Folders.of("evil", evil)
    manifest = read_manifest(folders.manifest("val"))
    beton = open_beton(folders.beton("val"))
    content = bytearray(beton.path.read_bytes())
    for sample in range(len(beton)):
        content[int(beton.offsets[sample])] ^= 1
    (tmp_path / "damaged.beton").write_bytes(content)
    said: list[str] = []

    with error_in(said):
        damaged = open_beton(tmp_path / "damaged.beton")
        verify(damaged, contents_of(damaged, manifest), 1)
    for name in {row.class_name for row in manifest.rows}:
        path = folders.raw / next(row.path for row in manifest.rows if row.class_name == name)
        sound = path.read_bytes()
        path.write_bytes(b"changed")
        with error_in(said):
            write_beton(manifest, folders.raw, tmp_path / "new.beton", make_params().ffcv.beton, 1)
        with error_in(said):
            list(ProjectData(make_params(use_ffcv=False), folders).loader("val"))
        path.write_bytes(sound)

    assert len(said) >= 2 * 6
    said.append(capsys.readouterr().out)
    assert r"\x1b[31mred" in said[-1]
    assert all(map(is_safe, said))
