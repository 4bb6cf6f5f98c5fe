"""The study of a sweep in Optuna's database: what was tried, what came of it, and what to try next.

The same sweep.yaml gives the same trials, however often the sweep is interrupted: the sampler of each trial has a seed
made of that of the file and the number of the trial, and a trial that was running goes on as what it was.
"""

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from formwork.errors import FormworkError
from formwork.tools.experiments.pipeline import Stages
from formwork.tools.sweep.space import Choices, Domain, Range, Sweep
from formwork.yaml import dump_yaml, parse_yaml

DATABASE = "studies.db"
REASON, SPACE, STAGES, METRIC = "reason", "params", "stages", "metric"  # attributes in the database
STATES = {TrialState.COMPLETE: "finished", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
WARM_UP = 4  # the first 1/4 of the epochs ends no trial

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Trial:
    """A trial that has ended.

    Attributes:
        name: of the experiment, where it is finished.
        values: by dotted key, as params.yaml has them.
        score: of a finished one its result; of a pruned one that of its last epoch.
        epochs: that its curve has.
        reason: why it failed.
    """

    number: int
    name: str
    state: Literal["finished", "pruned", "failed"]
    values: Mapping[str, Any]
    score: float | None
    epochs: int
    reason: str = ""


class Study:
    """The study of a sweep, made or found again.

    Args:
        folder: of the database.
        higher: whether a higher score is better.
        stages: with the params of the sweep left out: what all trials have in common.

    Raises:
        FormworkError: the database cannot be used, or the study was made of something else.
    """

    def __init__(self, sweep: Sweep, folder: Path, metric: str, higher: bool, stages: Stages):
        self.sweep = sweep
        self.higher = higher
        self.metric = metric
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / DATABASE
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of SQLAlchemy calling sqlite3
                self._study = optuna.create_study(
                    storage=f"sqlite:///{self.path}",
                    study_name=sweep.study,
                    direction="maximize" if higher else "minimize",
                    load_if_exists=True,
                    pruner=_pruner(sweep),
                )
        except (SQLAlchemyError, OSError) as error:
            raise FormworkError(
                f"{self.path} cannot be used: {getattr(error, 'orig', error)}. Move it away to begin anew."
            ) from error
        self._check({SPACE: _described(sweep.space), METRIC: metric, STAGES: _plain(stages)})

    def _check(self, wanted: Mapping[str, Any]) -> None:
        known = self._study.user_attrs
        if not self._study.get_trials(deepcopy=False):
            for key, value in wanted.items():
                self._study.set_user_attr(key, value)
            return
        differing = [key for key in wanted if known.get(key) != wanted[key]]
        if not differing:
            return
        if STAGES in differing:
            what = ", ".join(_differences(known.get(STAGES, {}), wanted[STAGES]))
            mend = "Take the change back"
        else:
            what = " and ".join(differing)
            mend = f"Take back the change in {self.sweep.path}"
        raise FormworkError(
            f"The study {self.sweep.study} has trials that were made with something else: {what}. They could not be "
            f"compared with new ones. {mend}, or set another `study` in {self.sweep.path} to begin a new one."
        )

    def has_begun(self) -> bool:
        return bool(self._study.get_trials(deepcopy=False))

    def trials(self) -> list[Trial]:
        """Those that have ended, in their order."""
        return [self._trial(one) for one in self._study.get_trials(deepcopy=False) if one.state in STATES]

    def best(self) -> Trial | None:
        """The best of the finished ones, the first of equal ones."""
        finished = [trial for trial in self.trials() if trial.state == "finished" and trial.score is not None]
        key = (lambda trial: trial.score) if self.higher else (lambda trial: -(trial.score or 0))
        return max(finished, key=key, default=None)

    def next(self) -> "Running":
        """The trial that was interrupted, if there is one, or else a new one."""
        frozen = self._study.get_trials(deepcopy=False)
        running = next((trial for trial in frozen if trial.state in (TrialState.RUNNING, TrialState.WAITING)), None)
        number = running.number if running else len(frozen)
        self._study.sampler = _sampler(self.sweep, number)
        if running and running.state == TrialState.RUNNING:
            trial = optuna.Trial(self._study, running._trial_id)
        else:
            if self.sweep.file.sampler == "grid" and not running:
                values = list(self.sweep.grid())[number]
                self._study.enqueue_trial({key: _stored(self.sweep.space[key], values[key]) for key in values})
            trial = self._study.ask()
        values = {key: _suggest(trial, key, domain) for key, domain in self.sweep.space.items()}
        return Running(self, trial, values, goes_on=bool(running))

    def importances(self) -> dict[str, float]:
        """Share of the variance of the score that each param explains, alone, by fANOVA (Hutter et al., 2014); none
        where there are too few trials to say."""
        finished = [trial for trial in self.trials() if trial.state == "finished"]
        scores = {trial.score for trial in finished}
        if len(finished) < 2 * len(self.sweep.space) + 2 or len(scores) == 1:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=self.sweep.file.seed)
        return optuna.importance.get_param_importances(self._study, evaluator=evaluator)

    def experiment(self, number: int | str) -> str:
        return f"{self.sweep.study}-{number}"

    def _trial(self, frozen: FrozenTrial) -> Trial:
        curve, space = frozen.intermediate_values, self.sweep.space
        return Trial(
            frozen.number,
            self.experiment(frozen.number),
            STATES[frozen.state],  # type: ignore[arg-type]
            {key: _value(space[key], frozen.params[key]) for key in space if key in frozen.params},
            frozen.value if frozen.state != TrialState.FAIL else None,
            max(curve, default=0),
            frozen.user_attrs.get(REASON, ""),
        )


class Running:
    """A trial that is to run.

    Attributes:
        values: of the params, by dotted key.
        goes_on: it was interrupted before.
    """

    def __init__(self, study: Study, trial: optuna.Trial, values: Mapping[str, Any], goes_on: bool):
        self.study = study
        self.number = trial.number
        self.name = study.experiment(trial.number)
        self.values = values
        self.goes_on = goes_on
        self._trial = trial
        self._seen = max(study._study.get_trials(deepcopy=False)[trial.number].intermediate_values, default=0)

    def prunes(self, curve: Mapping[int, float], epochs: int) -> bool:
        """Whether the trial is to end after one of these epochs.

        Args:
            curve: the score by epoch, so far.
            epochs: of the whole training: the last of them ends nothing.
        """
        for epoch in sorted(curve):
            if epoch > self._seen:
                self._trial.report(curve[epoch], epoch)
                self._seen = epoch
            if epoch < epochs and self._seen == epoch and self._trial.should_prune():
                return True
        return False

    def finish(self, score: float) -> None:
        self.study._study.tell(self._trial, score)

    def prune(self) -> None:
        self.study._study.tell(self._trial, state=TrialState.PRUNED)

    def fail(self, reason: str) -> None:
        self._trial.set_user_attr(REASON, reason)
        self.study._study.tell(self._trial, state=TrialState.FAIL)


def _sampler(sweep: Sweep, number: int) -> BaseSampler:
    seed = int.from_bytes(hashlib.sha256(f"{sweep.file.seed} {number}".encode()).digest()[:4], "little")
    if sweep.file.sampler != "tpe":
        return RandomSampler(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return TPESampler(seed=seed, multivariate=True)


def _pruner(sweep: Sweep) -> BasePruner:
    if sweep.file.pruner == "median":
        return MedianPruner(n_warmup_steps=sweep.epochs // WARM_UP + 1)  # epochs count from 1
    if sweep.file.pruner == "hyperband":
        return HyperbandPruner(max_resource=sweep.epochs)
    return NopPruner()


def _suggest(trial: optuna.Trial, key: str, domain: Domain) -> Any:
    if isinstance(domain, Choices):
        return _value(domain, trial.suggest_categorical(key, [_stored(domain, value) for value in domain.values]))
    if domain.whole:
        low, high, step = int(domain.low), int(domain.high), int(domain.step or 1)
        return trial.suggest_int(key, low, high, step=step, log=domain.log)
    return trial.suggest_float(key, domain.low, domain.high, step=domain.step, log=domain.log)


def _stored(domain: Domain, value: Any) -> Any:
    """A value as the database takes it: choices as YAML, as they may be lists."""
    return dump_yaml(value, one_line=True) if isinstance(domain, Choices) else value


def _value(domain: Domain, stored: Any) -> Any:
    return parse_yaml(stored.encode(), "a choice") if isinstance(domain, Choices) else stored


def _described(space: Mapping[str, Domain]) -> dict[str, Any]:
    return {
        key: asdict(domain) if isinstance(domain, Range) else [_stored(domain, value) for value in domain.values]
        for key, domain in space.items()
    }


def _plain(stages: Stages) -> dict[str, Any]:
    """Through JSON, as the database gives it back."""
    return json.loads(json.dumps({name: asdict(stage) for name, stage in stages.items()}, default=str, sort_keys=True))


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names of what stages depend on and that differs: paths, and keys of params.yaml."""
    found: dict[str, None] = {}
    for stage in before.keys() | now.keys():
        one, other = before.get(stage, {}), now.get(stage, {})
        for kind in ("deps", "params"):
            a, b = one.get(kind, {}), other.get(kind, {})
            found |= dict.fromkeys(key for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key))
    return list(found) or ["the commands in dvc.yaml"]
