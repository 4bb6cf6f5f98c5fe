"""Kernels are compiled once for each state of the sources, wherever they are, and kept as long as they are used."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import formwork
from formwork.kernels import cache
from tests import limits, permissions
from tests.processes import TIMEOUT

pytestmark = pytest.mark.slow

SOURCES = Path(formwork.__file__).parents[1]

# One small kernel, for what is the same for all of them: the others take ten seconds to compile.
SMALL = """
from numba.core import event
with event.install_recorder("numba:compile") as compiled:
    from formwork.loading.random_numbers import uniform
    numbers = uniform(0, 0, [1, 2, 3], "test")
from formwork.kernels.cache import cache_folder, source_digest
print(len(numbers), len(compiled.buffer), cache_folder(source_digest()))
"""


def start(script: str, cache: Path, *arguments: Path, sources: Path = SOURCES, **options) -> subprocess.Popen[str]:
    paths = f"{sources}{os.pathsep}{Path(__file__).parents[2]}"
    environment = os.environ | {"PYTHONPATH": paths, "XDG_CACHE_HOME": str(cache)}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def warning_of(script: str, cache: Path) -> str:
    """The one warning of a process that runs a script, without its place."""
    _, said = start(script, cache).communicate(timeout=TIMEOUT)
    place, _, warning = said.splitlines()[0].partition(" UserWarning: ")
    assert place.startswith("/")
    assert said.count("Warning") == 1
    assert "Traceback" not in said
    return warning


def run(*arguments, **options) -> tuple[int, int, Path]:
    """(what was made, compilations, folder of the kernels) of a process that runs a script."""
    output, said = start(*arguments, **options).communicate(timeout=TIMEOUT)
    assert "cannot be kept" not in said
    made, compilations, folder = output.split()
    return int(made), int(compilations), Path(folder)


def copied(path: Path) -> Path:
    return shutil.copytree(SOURCES, path / "src", ignore=shutil.ignore_patterns("__pycache__"))


def test_kernels_are_those_of_the_sources(tmp_path):
    # numba itself looks for changes in the file of the compiled function alone: not in those that it calls, nor in the
    # options that it is compiled with.
    folders = {run(SMALL, tmp_path / "cache")[2]}
    sources = copied(tmp_path / "clone")
    for changed in ("beton/format.py", "kernels/compile.py", "kernels/cache.py"):
        with (sources / "formwork" / changed).open("a") as file:
            file.write("# changed\n")
        _, compilations, folder = run(SMALL, tmp_path / "cache", sources=sources)
        assert compilations > 0, changed
        assert folder not in folders, changed
        folders.add(folder)


def test_processes_that_start_together_do_not_disturb_each_other(tmp_path):
    processes = [start(SMALL, tmp_path / "cache") for _ in range(4)]
    outputs = [process.communicate(timeout=TIMEOUT)[0].split() for process in processes]
    assert [output[0] for output in outputs] == ["3"] * 4
    assert run(SMALL, tmp_path / "cache")[:2] == (3, 0)


def in_the_way(cache: Path) -> None:
    cache.touch()


def in_a_folder(cache: Path) -> None:
    cache.mkdir()


def not_allowed(cache: Path) -> None:
    cache.mkdir(mode=0o500)


@pytest.mark.parametrize(
    ("make", "room", "reason"),
    [
        (in_the_way, 1 << 30, "Not a directory"),
        (in_a_folder, 0, "File too large"),
        (not_allowed, 1 << 30, "Permission denied"),
    ],
)
def test_where_nothing_can_be_kept_it_still_works_says_so_once_and_leaves_nothing(tmp_path, make, room, reason):
    make(tmp_path / "cache")
    with limits.file_size(room):
        process = start(SMALL, tmp_path / "cache", preexec_fn=permissions.give_up)
    output, said = process.communicate(timeout=TIMEOUT)
    made, compilations, folder = output.split()
    assert int(made) == 3
    assert int(compilations) > 0
    assert said.count(f"UserWarning: Kernels cannot be kept in {folder} ({reason}): each process") == 1
    assert said.count("Warning") == 1
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_user_without_a_name_and_a_home_keeps_nothing(monkeypatch):
    def unknown(user: int) -> None:
        raise KeyError(user)

    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setattr(cache.config, "CACHE_DIR", "")
    assert cache.why_not_kept(cache.cache_folder.__wrapped__("used")) == "Not a directory"


def test_what_a_loss_of_power_leaves_is_compiled_again(tmp_path):
    _, _, folder = run(SMALL, tmp_path / "cache")
    for file in folder.glob("*.nb[ic]"):
        os.truncate(file, 0)
    made, compilations, _ = run(SMALL, tmp_path / "cache")
    assert made == 3
    assert compilations > 0
    assert run(SMALL, tmp_path / "cache")[1] == 0


def test_kernels_of_sources_that_nobody_uses_any_more_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(cache.config, "CACHE_DIR", str(tmp_path))
    old, recent = tmp_path / "formwork/kernels/old", tmp_path / "formwork/kernels/recent"
    old.mkdir(parents=True)
    recent.mkdir()
    os.utime(old, (0, time.time() - cache.KEPT - 60))
    assert cache.cache_folder.__wrapped__("used") == tmp_path / "formwork/kernels/used"
    assert not old.exists()
    assert recent.exists()
