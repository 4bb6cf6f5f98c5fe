"""Finished trainings: their figures, and where they are found: the workspace, its commits, and all experiments."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from formwork.git import experiments, git, read_files
from formwork.tools.compare.case import Case
from formwork.tools.experiments.pipeline import Stages, matches, read_lock
from formwork.tools.scores import score_of

LOCK = "dvc.lock"
SPEED = "results/speed/metrics.json"
EVALUATION = "results/evaluate/metrics.json"
COMMITS = 30  # the newest that changed dvc.lock


@dataclass(frozen=True)
class Run:
    """A finished training. Its figures are those of results/speed/metrics.json, see EpochLogger.

    Attributes:
        loader: really used.
        score: of the best epoch on the validation split, from results/evaluate.
        metric: which one that is, such as "accuracy".
        identity: of the measurement; a result that DVC took from its cache has that of the run that it is of.
        source: where the result was found, for people.
    """

    case: Case
    loader: str
    score: float
    metric: str
    seconds: float
    images_per_second: float
    waiting_seconds: float
    waiting_share: float
    first_batch_seconds: float
    peak_memory_mb: float | None
    machine: str
    machine_id: str
    identity: str
    source: str

    @property
    def fell_back(self) -> bool:
        """Whether another loader than the one asked for gave any of the batches."""
        return self.loader != self.case.asked_for


OF_SPEED = (
    "loader",
    "seconds",
    "images_per_second",
    "waiting_seconds",
    "waiting_share",
    "first_batch_seconds",
    "machine",
    "machine_id",
)


def make_run(
    case: Case, speed: Mapping[str, Any], evaluation: Mapping[str, Any], identity: str, source: str
) -> Run | None:
    """From results/speed/metrics.json and results/evaluate/metrics.json; None where they lack a figure."""
    try:
        figures = {name: speed[name] for name in OF_SPEED}
        score = score_of(evaluation)
        value = score.of(evaluation)
    except (KeyError, TypeError):
        return None
    return Run(
        case=case,
        score=value or 0.0,
        metric=score.title,
        peak_memory_mb=speed.get("peak_memory_mb"),
        identity=identity,
        source=source,
        **figures,
    )


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
        contents, digests = [], []
        for stage, path in (("train", SPEED), ("evaluate", EVALUATION)):
            content = self.read(path) or b""
            digests.append(hashlib.md5(content).hexdigest())
            # Only what DVC knows as this run's: a file may have been changed since, or be of another run.
            if digests[-1] != self.stages[stage].outs.get(path):
                return None
            contents.append(content)
        try:
            speed, evaluation = map(json.loads, contents)
        except ValueError:
            return None
        return make_run(case, speed, evaluation, digests[0], self.source)


def in_folder(root: Path, source: str) -> Result:
    """What is in a workspace."""

    def read(path: str) -> bytes | None:
        try:
            return (root / path).read_bytes()
        except OSError:
            return None

    return Result(source, read_lock(read(LOCK) or b""), read)


def find_results(root: Path) -> list[Result]:
    """Places that may hold a finished run: the workspace, then experiments, the newest first, then commits."""
    named = [(revision, f"experiment {name}") for revision, name in experiments(root)]
    revisions = [*named, *_commits(root)]
    locks = read_files(root, [f"{revision}:{LOCK}" for revision, _ in revisions])
    committed = [
        Result(source, read_lock(lock or b""), _reader(root, revision))
        for (revision, source), lock in zip(revisions, locks, strict=True)
    ]
    return [in_folder(root, "the workspace"), *committed]


def _reader(root: Path, revision: str) -> Callable[[str], bytes | None]:
    return lambda path: read_files(root, [f"{revision}:{path}"])[0]


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
