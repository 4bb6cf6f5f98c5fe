"""A model registry finds the model."""

from pathlib import Path

from tests.workspace import BIN, Workspace


def test_a_version_of_the_model_is_got_by_its_name(repo: Workspace, tmp_path: Path) -> None:
    repo.run(BIN / "gto", "register", "best", "--version", "v1.0.0")
    elsewhere = Workspace(tmp_path, repo.env)

    elsewhere.dvc(f"artifacts get {repo.path} best --rev v1.0.0 --out mine.pt")

    assert (tmp_path / "mine.pt").read_bytes() == (repo / "models/best.pt").read_bytes()
