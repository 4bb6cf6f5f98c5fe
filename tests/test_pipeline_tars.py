"""A folder packed into tars, through the pipeline: DVC's files are few, and what was in an older tar is still shown."""

import shutil

from formwork.images.manifest import read_manifest
from tests.workspace import Workspace


def test_tars_are_versioned_and_compared_as_files_are(repo: Workspace) -> None:
    repo.run("python", "src/pack.py", "data/raw/shapes", "data/raw/packed", "--shard-mb", "0.004")
    repo.dvc("add --quiet data/raw/packed")
    repo.set_params(data__name="packed")
    assert {"link", "convert@train"} <= set(repo.dvc("repro convert@train convert@val convert@test").ran)
    assert repo.dvc("repro convert@train").ran == []
    repo.commit("Pack")
    manifest = read_manifest(repo / "data/interim/packed/train.csv")
    assert manifest.columns.offsets
    assert set(manifest.texts("class_name")) == {"a", "b", "c"}

    shutil.copytree(repo / "data/raw/shapes", repo / "less")
    (repo / "less/a/000.png").unlink()
    shutil.rmtree(repo / "data/raw/packed")
    repo.run("python", "src/pack.py", "less", "data/raw/packed", "--shard-mb", "1")
    repo.dvc("add --quiet data/raw/packed")
    repo.dvc("repro link")
    output = repo.run("python", "src/diff.py", "--html", "page.html").output

    assert "60 images before, 59 after" in output
    assert "shard-00000.tar/a/000.png" in output
    assert "not here" not in (repo / "page.html").read_text()
