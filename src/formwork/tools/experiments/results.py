"""Finished trainings, wherever they are: in the workspace, in its commits, and in all experiments."""

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from formwork.git import experiments, git, read_files
from formwork.tools.experiments.pipeline import TRAINING, Stages, matches, read_lock

LOCK = "dvc.lock"
COMMITS = 30  # the newest that changed dvc.lock


@dataclass(frozen=True)
class Result:
    """What a place holds of a finished training: its stages, and a way to read its files."""

    source: str
    stages: Stages
    read: Callable[[str], bytes | None]

    def files(self, wanted: Stages, paths: Mapping[str, str]) -> list[bytes] | None:
        """Contents of files, if the training is of the wanted stages and DVC knows the files as its: one may have been
        changed since, or be of another training.

        Args:
            paths: of each, by the stage that wrote it.
        """
        if not matches(self.stages, wanted):
            return None
        contents = []
        for stage, path in paths.items():
            content = self.read(path) or b""
            if hashlib.md5(content).hexdigest() != self.stages[stage].outs.get(path):
                return None
            contents.append(content)
        return contents


def in_folder(root: Path, source: str, names: Collection[str] = TRAINING) -> Result:
    """What is in a workspace, of the named stages."""

    def read(path: str) -> bytes | None:
        try:
            return (root / path).read_bytes()
        except OSError:
            return None

    return Result(source, read_lock(read(LOCK) or b"", names), read)


def find_results(root: Path, names: Collection[str] = TRAINING) -> list[Result]:
    """Places that may hold a finished training: the workspace, then experiments, the newest first, then commits.

    Args:
        names: of the stages that are asked about.
    """
    named = [(revision, f"experiment {name}") for revision, name in experiments(root)]
    revisions = [*named, *_commits(root)]
    locks = read_files(root, [f"{revision}:{LOCK}" for revision, _ in revisions])
    committed = [
        Result(source, read_lock(lock or b"", names), _reader(root, revision))
        for (revision, source), lock in zip(revisions, locks, strict=True)
    ]
    return [in_folder(root, "the workspace", names), *committed]


def _reader(root: Path, revision: str) -> Callable[[str], bytes | None]:
    return lambda path: read_files(root, [f"{revision}:{path}"])[0]


def _commits(root: Path) -> Iterator[tuple[str, str]]:
    log = git(root, "log", f"--max-count={COMMITS}", "--format=%H %h", "HEAD", "--", LOCK)
    for line in log.decode().splitlines():
        revision, short = line.split()
        yield revision, f"commit {short}"
