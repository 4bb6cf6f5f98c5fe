"""The user's code in src/own is found in the repository that is named, and its mistakes are named with their place."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from formwork.own import repository_of
from tests.workspace import ROOT

OPERATIONS = 'OPERATIONS = {"Nothing": print}\n'


def make_repository(folder: Path, operations: str | None = OPERATIONS) -> Path:
    """params.yaml and src/own."""
    (folder / "src/own").mkdir(parents=True)
    (folder / "params.yaml").touch()
    (folder / "src/own/__init__.py").touch()
    if operations is not None:
        (folder / "src/own/operations.py").write_text(operations)
    return folder


def use(tmp_path: Path, *repositories: Path, on_path: Path | None = None) -> str:
    """Use the code of repositories, one after the other, in a process where only the library is installed; the names
    of the operations, or the error.

    Args:
        on_path: a repository whose src/ is on the path, too.
    """
    library = tmp_path / "library"
    library.mkdir(exist_ok=True)
    if not (library / "formwork").exists():
        (library / "formwork").symlink_to(ROOT / "src/formwork")
    code = """
import sys
from pathlib import Path
from formwork import own
from formwork.errors import FormworkError
try:
    for repository in sys.argv[1:]:
        own.use(Path(repository))
        print(*own.operations())
except FormworkError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, *repositories],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{library}:{on_path}/src" if on_path else str(library)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_operations_are_those_of_the_repository(tmp_path: Path) -> None:
    assert use(tmp_path, make_repository(tmp_path / "one")) == "Nothing\n"
    assert use(tmp_path, make_repository(tmp_path / "none", None)) == "\n"
    (tmp_path / "empty").mkdir()
    assert use(tmp_path, tmp_path / "empty") == "\n"


def test_two_repositories_with_the_same_code_go_together(tmp_path: Path) -> None:
    one, same = make_repository(tmp_path / "one"), make_repository(tmp_path / "same")
    other = make_repository(tmp_path / "other", OPERATIONS.replace("Nothing", "Something"))

    assert use(tmp_path, one, same) == "Nothing\nNothing\n"
    assert use(tmp_path, one, other) == (
        f"Nothing\nThis process uses the code in {one}/src/own already, and cannot use {other}/src/own, too. "
        "Start another one.\n"
    )


def test_the_repository_that_is_named_comes_before_one_on_the_path(tmp_path: Path) -> None:
    one = make_repository(tmp_path / "one")
    other = make_repository(tmp_path / "other", OPERATIONS.replace("Nothing", "Something"))

    assert use(tmp_path, other, on_path=one) == "Something\n"


@pytest.mark.parametrize(
    ("operations", "message"),
    [
        ("x = 1\n\nx.y\n", ", line 3: AttributeError: 'int' object has no attribute 'y'. Correct it"),
        ("def f(:\n", r": SyntaxError: invalid syntax \(operations.py, line 1\). Correct it"),
        ("x = 1\n", ": ImportError: cannot import name 'OPERATIONS' from 'own.operations'"),
        ("OPERATIONS = [print]\n", r": OPERATIONS must be a mapping of names to operations, and is \[<built-in"),
    ],
)
def test_a_mistake_in_it_is_named_with_its_place(tmp_path: Path, operations: str, message: str) -> None:
    repository = make_repository(tmp_path / "one", operations)

    output = use(tmp_path, repository)

    assert output.startswith(f"{repository}/src/own/operations.py")
    assert re.search(message, output), output


def test_the_nearest_repository_is_found(tmp_path: Path) -> None:
    make_repository(tmp_path / "one")
    (tmp_path / "one/models/old").mkdir(parents=True)

    assert repository_of(tmp_path / "one/models/old") == tmp_path / "one"
    assert repository_of(tmp_path / "one") == tmp_path / "one"
    assert repository_of(tmp_path) is None
