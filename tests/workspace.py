"""A Formwork repository in a temporary folder, driven as its users drive it: with git and dvc as processes."""

import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from formwork.params import Params
from formwork.yaml import dump_yaml, read_yaml
from tests.processes import TIMEOUT

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent  # of the environment that runs the tests: commands in dvc.yaml say plain `python`

FILES = ("dvc.yaml", "data/dvc.yaml", "data/splits/README.md", ".gitattributes", ".gitignore", ".dvcignore")
FILES += (".dvc/.gitignore", "models/weights/README.md")
"""What a repository needs, beside src/, params.yaml and .dvc/config."""


CHECKS = {"check", "try"}
"""Stages that make nothing: `check` runs whenever params.yaml has changed."""


@dataclass(frozen=True)
class Result:
    """A command that ended: what it wrote to stdout and stderr, together."""

    output: str

    @property
    def ran(self) -> list[str]:
        """The stages that DVC executed, in order: not those whose outputs it had in its run cache, and not those of
        CHECKS."""
        return [stage for stage in self.all_ran if stage not in CHECKS]

    @property
    def all_ran(self) -> list[str]:
        return re.findall(r"^Running stage '(?:data/dvc\.yaml:)?(.+)':$", self.output, re.MULTILINE)


@dataclass(frozen=True)
class Workspace:
    """A folder, and the environment that commands run with there."""

    path: Path
    env: Mapping[str, str]

    def __truediv__(self, path: str) -> Path:
        return self.path / path

    def run(self, *command: str | Path, status: int = 0) -> Result:
        """Run a command to its end, or kill it with all its children at TIMEOUT; it must exit with `status`."""
        process = subprocess.Popen(
            command,
            cwd=self.path,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        with process:
            try:
                output, _ = process.communicate(timeout=TIMEOUT)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        assert process.returncode == status, f"{shlex.join(map(str, command))}: {process.returncode}\n{output}"
        return Result(output)

    def shell(self, command: str) -> Result:
        """Run a line as a user would paste it."""
        return self.run("sh", "-c", command)

    def dvc(self, arguments: str, status: int = 0) -> Result:
        return self.run(BIN / "dvc", *shlex.split(arguments), status=status)

    def git(self, arguments: str) -> str:
        return self.run("git", *shlex.split(arguments)).output

    def commit(self, message: str) -> None:
        self.git("add --all")
        self.git(f"commit --quiet --message '{message}'")

    def changes(self) -> set[str]:
        """What git calls changed, new or deleted."""
        return {line[3:] for line in self.git("status --porcelain --untracked-files=all").splitlines()}

    def ignores(self, path: str) -> bool:
        """Whether git ignores a file or folder, which need not exist."""
        command = ["git", "check-ignore", path, f"{path}/"]
        done = subprocess.run(command, cwd=self.path, env=self.env, capture_output=True, timeout=TIMEOUT, check=False)
        assert done.returncode in (0, 1), done.stderr
        return done.returncode == 0

    def outdated(self) -> dict[str, list]:
        """What `dvc status` says, by stage; stages that are up to date are not in it."""
        return json.loads(self.dvc("status --json").output)

    def outdated_stages(self) -> set[str]:
        """Those of `outdated`, but for CHECKS."""
        return set(self.outdated()) - CHECKS

    def experiment_files(self, name: str) -> dict[str, int]:
        """Bytes of each file in the git commit of an experiment."""
        refs = self.git("for-each-ref --format='%(refname)' refs/exps").splitlines()
        (ref,) = (ref for ref in refs if ref.endswith(f"/{name}"))
        listing = self.git(f"ls-tree -r --long {ref}")
        return {path: int(size) for size, path in re.findall(r"^\S+ \S+ \S+ +(\d+)\t(.+)$", listing, re.MULTILINE)}

    def set_params(self, **values: object) -> None:
        """Change params.yaml; the dots of a key are written __."""
        params = read_yaml(self / "params.yaml")
        for key, value in values.items():
            *sections, name = key.split("__")
            section = params
            for step in sections:
                section = section[step]
            section[name] = value
        (self / "params.yaml").write_text(dump_yaml(params))

    def copy(self, folder: Path) -> "Workspace":
        """A copy in `folder`, of what stands beside it, too: the folder that is its remote."""
        shutil.copytree(self.path.parent, folder, symlinks=True, dirs_exist_ok=True)
        return Workspace(folder / self.path.name, self.env)

    def clone(self, path: Path) -> "Workspace":
        """What somebody else gets from git."""
        self.run("git", "clone", "--quiet", self.path, path)
        return Workspace(path, self.env)


def copy_sources(target: Path, **datasets: dict) -> None:
    """Copy the code of this repository and make a project of it, with params of the tests' own and no code in src/own.

    What whoever runs the tests has put there, and into params.yaml and .dvc/config, is theirs and decides nothing here.

    Args:
        target: a folder that is not there yet.
        datasets: entries of that section of params.yaml, by name.
    """
    shutil.copytree(ROOT / "src", target / "src", ignore=shutil.ignore_patterns("__pycache__", "own"))
    for name in FILES:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name)
    write_file(target / "src/own/__init__.py", "")
    write_file(target / "src/own/operations.py", "OPERATIONS = {}\n")
    write_file(target / ".dvc/config", "[core]\n    analytics = false\n")
    write_file(target / "params.yaml", dump_yaml(default_params(**datasets)))


def default_params(**datasets: dict) -> dict:
    """Every key of params.yaml with its default, for a pipeline that fetches the dataset digits."""
    params = Params.model_validate({"data": {"name": "digits", "fetch": ["digits"]}, "datasets": datasets})
    return params.model_dump(mode="json")


def write_file(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def snapshot(folder: Path) -> dict[str, str]:
    """SHA-256 by path of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
