"""Weights to start from, in a repository with git and DVC."""

import shutil
from pathlib import Path

from tests.workspace import Workspace


def test_fine_tuning_from_a_file(repo: Workspace, tmp_path: Path) -> None:
    shutil.copy(repo / "models/best.pt", repo / "models/weights/first.pt")
    assert repo.changes() == set()
    repo.dvc("add models/weights/first.pt")
    assert repo.changes() == {"models/weights/first.pt.dvc"}
    repo.commit("Add weights")

    done = repo.dvc("repro")
    assert done.ran == ["weights"]  # the folder has changed, and what it makes of it has not
    refused = repo.dvc("exp run -S model.weights=frist.pt", status=255)
    assert "Did you mean 'first.pt'?" in refused.output
    assert "git checkout params.yaml" in refused.output
    repo.git("checkout params.yaml")

    done = repo.dvc('exp run -S model.weights=first.pt -S \'model.freeze=["[0-4].*","!0.*"]\'')
    assert done.ran == ["weights", "train", "evaluate"]
    assert "Starting from models/weights/first.pt: 20 tensors." in done.output
    repo.commit("Fine-tune")
    repo.dvc("push")

    clone = repo.clone(tmp_path / "clone")
    clone.dvc("pull")
    assert clone.dvc("repro").all_ran == []
    assert (clone / "models/weights/README.md").exists()
