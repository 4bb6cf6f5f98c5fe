"""The figures of finished trainings."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from formwork.tools.compare.cases import Case
from formwork.tools.experiments.pipeline import Stages
from formwork.tools.experiments.results import Result
from formwork.tools.scores import score_of

SPEED = "results/speed/metrics.json"
EVALUATION = "results/evaluate/metrics.json"
PREDICTIONS = "results/evaluate/predictions.parquet"


@dataclass(frozen=True)
class Run:
    """A finished training. Its figures are those of results/speed/metrics.json, see EpochLogger.

    Attributes:
        loader: really used.
        score: of the best epoch on the validation split, from results/evaluate. test_score: on the test split; None
            where there is none.
        metric: which one that is, such as "accuracy".
        identity: of the measurement; a result that DVC took from its cache has that of the run that it is of.
        source: where the result was found, for people.
        predictions: MD5 of its predictions.parquet, by which DVC's cache has it.
        here: measured on this machine; of another one, the scores count, and nothing else.
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
    test_score: float | None = None
    predictions: str | None = None
    here: bool = True

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
        test_score=score.of(evaluation, "test"),
        metric=score.title,
        peak_memory_mb=speed.get("peak_memory_mb"),
        identity=identity,
        source=source,
        **figures,
    )


def read_run(result: Result, case: Case, wanted: Stages) -> Run | None:
    """The run that a place holds, if it is one of this case and has all figures.

    Args:
        wanted: the stages of the case.
    """
    contents = result.files(wanted, {"train": SPEED, "evaluate": EVALUATION})
    if contents is None:
        return None
    try:
        speed, evaluation = map(json.loads, contents)
    except ValueError:
        return None
    run = make_run(case, speed, evaluation, hashlib.md5(contents[0]).hexdigest(), result.source)
    return run and replace(run, predictions=result.stages["evaluate"].outs.get(PREDICTIONS))


def runs_of(results: Sequence[Result], case: Case, wanted: Stages) -> list[Run]:
    """The runs of a case, no measurement twice: DVC gives what it has in its cache to other experiments, too."""
    runs: dict[str, Run] = {}
    for result in results:
        if run := read_run(result, case, wanted):
            runs.setdefault(run.identity, run)
    return list(runs.values())


def named_machine(words: str, identity: str) -> str:
    return f"{words} (machine {identity})"
