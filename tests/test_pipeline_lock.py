"""The lock files in this repository belong to its code and its params."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workspace import ROOT, Workspace, copy_sources

LOCKS = ("dvc.lock", "data/dvc.lock")
CLOCK = "results/speed/"  # wall-clock figures: a later run may have replaced those that the lock file knows
ABSENT = ("deleted", "not in cache")


pytestmark = pytest.mark.checkout


@pytest.mark.skipif(not all((ROOT / name).exists() for name in LOCKS), reason="there are no lock files yet")
def test_lock_files_are_up_to_date(tmp_path: Path, environment: dict[str, str]):
    """Each stage's command, params, code and results in git are those that the lock files were written for.

    What is not in git, data and the model, is missing from this copy: whether DVC has it is for `dvc pull` to say.
    """
    copy = Workspace(tmp_path / "copy", environment)
    copy_sources(copy.path)
    shutil.rmtree(copy / "src/own")
    for folder in ("results", "src/own"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    for path in ("params.yaml", *LOCKS, *(path.relative_to(ROOT) for path in ROOT.glob("data/raw/*.dvc"))):
        (copy / str(path)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, copy / str(path))
    copy.git("init --quiet")
    copy.git("clean --quiet --force -d -X")  # what git ignores

    wrong = [
        f"{stage}: {path} {state}".replace("  ", " ")
        for stage, path, state in differences(copy.outdated())
        if not path.startswith(CLOCK) and not (state in ABSENT and copy.ignores(path))
    ]
    assert not wrong, "\n".join(["Run `dvc repro` and commit dvc.lock, data/dvc.lock and results/:", *wrong])


def differences(status: dict[str, list]) -> Iterator[tuple[str, str, object]]:
    """(stage, path, what is different) from `dvc status --json`; the path is "" where it is the command."""
    for stage, changes in status.items():
        for change in changes:
            if isinstance(change, str):
                yield stage, "", change
            else:
                for paths in change.values():
                    yield from ((stage, path, state) for path, state in paths.items())
