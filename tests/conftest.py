"""Fixtures that more than one test file uses: Formwork repositories in temporary folders, and protected memory."""

import fcntl
import mmap
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.fuzz.guard import Guarded
from tests.make_images import make_dataset
from tests.operations import uncompiled  # noqa: F401  (a fixture)
from tests.workspace import BIN, Workspace, copy_sources

sys.modules["own"] = ModuleType("own")  # empty, in place of src/own: the code there belongs to who runs the tests

# Threads of torch that wait for each other sleep, here and in all that tests start: tests share the cores, and threads
# that spin take them from one another. Before anything imports torch, which reads it then.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# What a test runs must not depend on whether another has compiled it already: loaders wait for their kernels.
os.environ.setdefault("FORMWORK_KERNELS", "compiled")


def pytest_configure() -> None:
    """Listen to Ctrl-C: a shell lets what it starts in the background ignore it, and so would all that tests start.

    And let torch, not imported yet, say no more than it does in formwork.meeting: some tests fork this process.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what drives git and DVC as of the pipeline, and run it first, the longest test at the very start.

    With `--dist worksteal`, one process then makes the repository that these tests share, while others run the rest;
    and in the end none waits long for another.
    """
    for item in items:
        if "environment" in getattr(item, "fixturenames", ()):
            item.add_marker("pipeline")
    items.sort(key=lambda item: (item.get_closest_marker("pipeline") is None, item.path.name != "test_tutorial.py"))


Shared = Callable[[str, Callable[[Path], None]], Path]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """shared("name", make): the folder that `make` has filled, once for all processes that run tests."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent

    def get(name: str, make: Callable[[Path], None]) -> Path:
        made, done = folder / f"shared-{name}", folder / f"shared-{name}.done"
        with (folder / f"shared-{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(made, ignore_errors=True)  # what is left where `make` has failed before
                made.mkdir()
                make(made)
                done.touch()
        return made

    return get


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory, shared: Shared) -> dict[str, str]:
    """For git and dvc: nothing of this user's settings, and no trace left outside the temporary folders, but for
    compiled kernels: those are the user's, which this process compiles and finds, too.

    Coverage is not measured in these processes: they run copies of src/, and would take half as long again.
    """
    home = tmp_path_factory.mktemp("home")
    foreign = ("GIT_", "DVC_", "PYTHON", "COVERAGE_", "XDG_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    inherited.setdefault("NUMBA_CACHE_DIR", os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser()))
    return inherited | {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "XDG_STATE_HOME": str(shared("state", lambda folder: None)),  # all processes that run tests are one machine
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "test",
        "GIT_AUTHOR_EMAIL": "test@localhost",
        "GIT_COMMITTER_NAME": "test",
        "GIT_COMMITTER_EMAIL": "test@localhost",
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(home / "dvc"),
        "DVC_GLOBAL_CONFIG_DIR": str(home / "dvc-global"),
        "DVC_SYSTEM_CONFIG_DIR": str(home / "dvc-system"),
    }


@pytest.fixture(scope="session")
def base(shared: Shared, environment: dict[str, str]) -> Workspace:
    """A repository with the small own dataset `shapes`, after `dvc repro`, `git commit` and `dvc push` to the folder
    `remote` beside it. Do not change it: `repo` is a copy to work on."""

    def make(folder: Path) -> None:
        base = Workspace(folder / "repo", environment)
        copy_sources(base.path)
        base.set_params(data__name="shapes", data__fetch=[], data__batch_size=16, data__num_workers=0)
        base.set_params(ffcv__beton__write_mode="jpg", trainer__max_epochs=1)
        make_dataset(base / "data/raw/shapes", classes=("a", "b", "c"), per_class=20, size=(8, 8))
        base.git("init --quiet --initial-branch main")
        base.dvc("remote add --default storage ../remote")
        base.dvc("add data/raw/shapes")
        base.commit("Add the dataset shapes")
        base.dvc("repro")
        base.commit("Train")
        base.dvc("push")

    return Workspace(shared("base", make) / "repo", environment)


@pytest.fixture
def repo(base: Workspace, tmp_path: Path) -> Workspace:
    """A copy of `base`, and of its remote."""
    return base.copy(tmp_path)


@pytest.fixture
def end_of_memory() -> np.ndarray:
    """Pages, and after their last byte one that cannot be read: the process would be killed."""
    try:
        return Guarded(8 * mmap.PAGESIZE).memory
    except OSError as error:
        pytest.skip(f"memory cannot be protected: {error}")
