"""A project in a folder of its own, and a way to look at it with one check."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from formwork.tools.doctor import checks
from formwork.tools.doctor.children import Child
from formwork.tools.doctor.project import Project
from formwork.tools.doctor.verdict import Result
from formwork.yaml import dump_yaml
from tests.training.conftest import merged, project
from tests.workspace import Workspace

__all__ = ["project"]  # a fixture

CHECKS = {check.name: check for check in checks.CHECKS}


@pytest.fixture(scope="session")
def libraries() -> Iterator[Child]:
    """What is installed, found out once for all tests that do not change it."""
    child = Child("libraries", ("torch", "ffcv"))
    yield child
    child.close()


class Patient:
    """A project, linked and converted, in the current folder: 90 images of the dataset `colours`. Neither git nor DVC
    know of it."""

    def __init__(self, path: Path, libraries: Child):
        self.path = path
        self.libraries = libraries

    def __truediv__(self, path: str) -> Path:
        return self.path / path

    def look(self, name: str, full: bool = False) -> Result:
        """What one check finds, as the tool makes it."""
        return self.look_at_all(name, full=full)[name]

    def look_at_all(self, *names: str, full: bool = False) -> dict[str, Result]:
        with Project(full) as looked_at:
            vars(looked_at)["libraries"] = self.libraries
            found = dict(checks.examine(looked_at, [CHECKS[name] for name in names]))
            del vars(looked_at)["libraries"]  # stays open for other tests
        return found

    def set_params(self, **sections: dict) -> None:
        """set_params(data={"num_workers": 7})"""
        (self / "params.yaml").write_text(dump_yaml(merged(**sections)))

    def write_json(self, path: str, value: object) -> None:
        (self / path).parent.mkdir(parents=True, exist_ok=True)
        (self / path).write_text(json.dumps(value))


@pytest.fixture
def patient(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, libraries: Child) -> Patient:
    shutil.copytree(project, tmp_path / "project", symlinks=True)
    monkeypatch.chdir(tmp_path / "project")
    return Patient(tmp_path / "project", libraries)


Versioned = tuple[Workspace, Callable[..., Result]]


@pytest.fixture
def versioned(repo: Workspace, monkeypatch: pytest.MonkeyPatch, libraries: Child) -> Versioned:
    """A repository that is up to date, the current folder; and what gives the results of checks by their names."""
    for name in ("HOME", *(name for name in repo.env if name.startswith(("GIT_", "DVC_")))):
        monkeypatch.setenv(name, repo.env[name])
    monkeypatch.chdir(repo.path)
    return repo, Patient(repo.path, libraries).look_at_all
