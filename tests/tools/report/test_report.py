"""The page shows what is there, says what is not, and needs no other file."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from formwork.folders import Folders
from formwork.images.manifest import read_manifest
from formwork.params import Params
from formwork.tools.report.charts import draw_confusion, draw_curves, read_confusion
from formwork.tools.report.experiments import find_experiments
from formwork.tools.report.page import Code, Missing, Section, Table, Text, markdown, render
from formwork.tools.report.sections import sections
from formwork.yaml import read_yaml

PIXEL = bytes.fromhex(  # a PNG of one pixel
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f64540"
    "0000000049454e44ae426082"
)


def references(html: str) -> set[str]:
    """What a browser would load, or go to."""
    return set(re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"')>\s]+)""", html))


def is_self_contained(html: str) -> bool:
    return all(reference.startswith(("data:", "#")) for reference in references(html))


def test_a_page_of_a_trained_repository(repo):
    printed = repo.run("python", "src/report.py", "results/report.html").output
    html = (repo / "results/report.html").read_text()
    assert printed == "Report: results/report.html\nModel card: results/model_card.md\n"
    card = (repo / "results/model_card.md").read_text()
    assert card.startswith("# shapes, small_cnn\n\nThe model says which of 3 classes an image shows. `a`, `b`, `c`.")
    assert f"`{read_manifest(repo / 'data/interim/shapes/train.csv').digest}`" in card
    assert is_self_contained(html)
    assert re.findall(r"<h2>(.*?)</h2>", html) == [
        *("Summary", "Data", "Images", "Training", "Evaluation", "Experiments", "Loaders compared", "Parameters")
    ]
    missing = re.findall(r'<p class="missing">(.*?)<code>(.*?)</code>', html)
    # This repository has neither.
    assert [command for _, command in missing] == ["dvc exp run -S trainer.max_epochs=20", "make compare"]
    assert html.count("<img ") >= 6
    assert "max_epochs: 1\n" in html
    assert repo.ignores("results/report.html")


def test_what_is_not_there_is_said_with_the_command_that_makes_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = Params.model_validate({"data": {"name": "nothing"}})
    found = sections(params, Folders(*(Path(name) for name in ("raw", "interim", "processed"))))
    for section in found[:-1]:
        (part,) = section.parts
        assert isinstance(part, Missing), section.title
        assert part.command.startswith(("dvc ", "make "))
    assert isinstance(found[-1].parts[0], Code)


def test_damaged_files_are_said_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (
        "convert/train.json",
        "evaluate/metrics.json",
        "evaluate/confusion.csv",
        "train/plots/metrics/train/loss.tsv",
    ):
        path = tmp_path / "results" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{")
    params = Params.model_validate({"data": {"name": "nothing"}})
    found = {section.title: section.parts for section in sections(params, Folders(*map(Path, "abc")))}
    for title in ("Summary", "Training", "Evaluation"):
        assert "cannot be read" in found[title][0].text, title


def test_text_is_text(tmp_path):
    html = render("<b>", "now & then", [Section("A b", [Text("1 < 2"), Table(["<i>", "x"], [["<u>", "&"]])])])
    assert "<b>" not in html
    assert "<u>" not in html
    assert "1 &lt; 2" in html
    assert 'href="#a-b"' in html


def test_markdown_keeps_its_tables_and_pictures(tmp_path):
    (tmp_path / "p.png").write_bytes(PIXEL)
    page = (
        "# The page\n\n## Title\n\n[far](https://example.org/x)\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n\n"
        "![seen](p.png) ![not there](q.png) <script>x</script>\n"
    )
    html = markdown(page, tmp_path).html
    assert "The page" not in html
    assert "<h3>Title</h3>" in html
    assert '<div class="wide"><table>' in html
    assert html.count("<img") == 1
    assert "data:image/png;base64," in html
    assert "<script>" not in html


def test_experiments_of_this_dataset_are_listed_with_what_differs(repo):
    """The most accurate first; not those of other datasets, nor what has no metrics."""
    params = read_yaml(repo / "params.yaml")
    head = repo.git("rev-parse HEAD").strip()

    def experiment(name: str, accuracy: float | None, **changed: object) -> None:
        repo.set_params(**changed)
        metrics = repo / "results/evaluate/metrics.json"
        metrics.write_text("{" if accuracy is None else json.dumps({"val_accuracy": accuracy}))
        repo.commit(name)
        repo.git(f"update-ref refs/exps/{head[:2]}/{head[2:]}/{name} HEAD")
        repo.git(f"reset --quiet --hard {head}")

    experiment("worse", 0.25, train__lr=0.5, data__use_ffcv=False)
    experiment("better", 0.75)
    experiment("other", 0.9, data__name="another")
    experiment("failed", None)
    found = find_experiments(repo.path, Params.model_validate(params))
    assert [(one.name, one.changes, one.score) for one in found] == [
        ("better", "", "accuracy 75.00%"),
        ("worse", "data.use_ffcv=false, train.lr=0.5", "accuracy 25.00%"),
    ]
    assert {one.loader for one in found} == {"ffcv"}  # as results/speed says


def test_confusions_are_counted_by_row_and_column(tmp_path):
    (tmp_path / "c.csv").write_text('actual,predicted\nb,a\nb,b\nb,b\n"a,1",b\n')
    names, counts = read_confusion(tmp_path / "c.csv")
    assert names == ["a", "a,1", "b"]
    assert counts.tolist() == [[0, 0, 0], [0, 0, 1], [1, 0, 2]]


@pytest.mark.parametrize("classes", [1, 3, 25, 1000])
def test_a_confusion_matrix_of_any_size(tmp_path, classes):
    draw_confusion([f"class {i}" for i in range(classes)], np.eye(classes, dtype=int), tmp_path / "c.svg")
    assert (tmp_path / "c.svg").stat().st_size < 3_000_000


def test_curves(tmp_path):
    metrics = tmp_path / "train/plots/metrics"
    for name in ("train/loss", "train/accuracy", "val/loss", "val/accuracy"):
        path = metrics / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"timestamp\tstep\t{path.stem}\n1\t1\t0.5\n2\t2\t0.25\n")
    speed = tmp_path / "speed/plots/metrics/images_per_second.tsv"
    speed.parent.mkdir(parents=True)
    speed.write_text("timestamp\tstep\timages_per_second\n1\t1\t100\n")
    draw_curves(tmp_path / "train", tmp_path / "speed", tmp_path / "curves.svg")
    assert "<svg" in (tmp_path / "curves.svg").read_text()
