"""Git commands, as tools and benchmarks use them."""

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from formwork.errors import FormworkError

EXPERIMENT = re.compile(r"refs/exps/[0-9a-f]{2}/[0-9a-f]{38}/(?P<name>.+)")


class GitError(FormworkError):
    """A git command failed."""


def git(folder: Path, *arguments: str | Path, input: bytes | None = None) -> bytes:  # noqa: A002  (subprocess's word)
    """Run a git command and return its output.

    Raises:
        GitError: with what it said.
        FormworkError: git is not installed.
    """
    command = ["git", *map(str, arguments)]
    try:
        done = subprocess.run(
            command, cwd=folder, env=os.environ | {"LC_ALL": "C"}, input=input, capture_output=True, check=False
        )
    except FileNotFoundError as error:
        raise FormworkError("git is not installed, and DVC keeps experiments in git. Install it.") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise GitError(f"`{' '.join(command)}` failed in {folder}: {said}")
    return done.stdout


def check_repository(root: Path) -> None:
    """Refuse a folder in which there can be no experiments.

    Raises:
        FormworkError: it is in no git repository, or in one without a commit, or not its root.
    """
    needed = "DVC keeps experiments in git: `git init`, `git add .` and `git commit` first."
    try:
        git(root, "rev-parse", "--git-dir")
    except GitError as error:
        if "not a git repository" not in str(error):
            raise
        raise FormworkError(f"{root.resolve()} is in no git repository. {needed}") from error
    try:
        git(root, "rev-parse", "--verify", "HEAD")
    except GitError as error:
        raise FormworkError(f"The git repository of {root.resolve()} has no commit. {needed}") from error
    if git(root, "rev-parse", "--show-prefix").strip() or not (root / ".dvc").is_dir():
        raise FormworkError(f"{root.resolve()} is not the root of the repository. Run this there.")


def experiments(root: Path) -> Iterator[tuple[str, str]]:
    """(revision, name) of each DVC experiment, the newest first."""
    refs = git(root, "for-each-ref", "--sort=-committerdate", "--format=%(objectname) %(refname)", "refs/exps")
    for line in refs.decode().splitlines():
        revision, ref = line.split(" ", 1)
        if found := EXPERIMENT.fullmatch(ref):  # others are DVC's own, such as its queue
            yield revision, found["name"]


def read_files(root: Path, names: Sequence[str]) -> list[bytes | None]:
    """Contents of files as git has them, by `<revision>:<path from root>`; None for those that there are not."""
    asked = "".join(f"{name.replace(':', ':./', 1)}\n" for name in names).encode()
    answer = git(root, "cat-file", "--batch", input=asked)
    contents: list[bytes | None] = []
    for _ in names:
        header, answer = answer.split(b"\n", 1)
        if header.endswith(b" missing"):
            contents.append(None)
        else:
            size = int(header.rsplit(b" ", 1)[1])
            contents.append(answer[:size])
            answer = answer[size + 1 :]
    return contents
