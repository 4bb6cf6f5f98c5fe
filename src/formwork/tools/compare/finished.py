"""Runs that are finished already: of the workspace, of its commits, and of all experiments."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from formwork.git import git, read_files
from formwork.tools.compare.pipeline import Stages, matches, read_lock
from formwork.tools.compare.runs import Case, Run, make_run

LOCK = "dvc.lock"
SPEED = "results/speed/metrics.json"
EVALUATION = "results/evaluate/metrics.json"
COMMITS = 30  # of those that changed dvc.lock, the last
EXPERIMENT = re.compile(r"refs/exps/[0-9a-f]{2}/[0-9a-f]{38}/(?P<name>.+)")


@dataclass(frozen=True)
class Result:
    """What a place holds of a finished training: its stages, and a way to read its files."""

    source: str
    stages: Stages
    read: Callable[[str], bytes | None]

    def run(self, case: Case, wanted: Stages) -> Run | None:
        """The run, if it is one of this case and has all figures.

        Args:
            wanted: the stages of the case.
        """
        if not matches(self.stages, wanted):
            return None
        contents = {}
        for stage, path in (("train", SPEED), ("evaluate", EVALUATION)):
            content = self.read(path)
            # Only what DVC knows as this run's: a file may have been changed since, or be of another run.
            if content is None or hashlib.md5(content).hexdigest() != self.stages[stage].outs.get(path):
                return None
            contents[path] = content
        try:
            speed, evaluation = (json.loads(contents[path]) for path in (SPEED, EVALUATION))
        except ValueError:
            return None
        return make_run(case, speed, evaluation, self.stages["train"].outs[SPEED], self.source)


def in_folder(root: Path, source: str) -> Result:
    """What is in a workspace."""

    def read(path: str) -> bytes | None:
        try:
            return (root / path).read_bytes()
        except OSError:
            return None

    return Result(source, read_lock(read(LOCK) or b""), read)


def find_results(root: Path) -> list[Result]:
    """All that may hold a finished run: the workspace, then experiments, the newest first, then commits."""
    revisions = [*_experiments(root), *_commits(root)]
    locks = read_files(root, [f"{revision}:{LOCK}" for revision, _ in revisions])
    committed = [
        Result(source, read_lock(lock or b""), _reader(root, revision))
        for (revision, source), lock in zip(revisions, locks, strict=True)
    ]
    return [in_folder(root, "the workspace"), *committed]


def _reader(root: Path, revision: str) -> Callable[[str], bytes | None]:
    return lambda path: read_files(root, [f"{revision}:{path}"])[0]


def _experiments(root: Path) -> Iterator[tuple[str, str]]:
    """(revision, what to call it) of each experiment."""
    refs = git(root, "for-each-ref", "--sort=-committerdate", "--format=%(objectname) %(refname)", "refs/exps")
    for line in refs.decode().splitlines():
        revision, ref = line.split(" ", 1)
        if found := EXPERIMENT.fullmatch(ref):  # others are DVC's own, such as its queue
            yield revision, f"experiment {found['name']}"


def _commits(root: Path) -> Iterator[tuple[str, str]]:
    log = git(root, "log", f"--max-count={COMMITS}", "--format=%H %h", "HEAD", "--", LOCK)
    for line in log.decode().splitlines():
        revision, short = line.split()
        yield revision, f"commit {short}"


def runs_of(results: Sequence[Result], case: Case, wanted: Stages) -> list[Run]:
    """The runs of a case, no measurement twice: DVC gives what it has in its cache to other experiments, too."""
    runs: dict[str, Run] = {}
    for result in results:
        if run := result.run(case, wanted):
            runs.setdefault(run.identity, run)
    return list(runs.values())
