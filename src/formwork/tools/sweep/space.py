"""sweep.yaml: which params a sweep tries, in what ranges, how and how often; checked before any work."""

import itertools
import math
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError, field_validator

from formwork.errors import FormworkError, ParamsError, did_you_mean
from formwork.params import Params, load_params
from formwork.params.fields import Float, PositiveFloat, PositiveInt, Section, Seed
from formwork.params.read import kinds_of_value
from formwork.yaml import dump_yaml, read_yaml

EXAMPLE = """params:
  train.lr: {low: 0.0001, high: 0.1, log: true}
  train.label_smoothing: {low: 0, high: 0.2, step: 0.05}
  model.name: [small_cnn, resnet18]
"""
STUDY = re.compile("[A-Za-z0-9][A-Za-z0-9_-]{0,49}")
"""Of experiments' names, too, which git keeps as refs."""
COMPARABLE = re.compile(
    r"(data\.(batch_size|dtype|num_workers|use_ffcv)|(ffcv|augment|model|train|trainer|evaluate)\..+|seed"
    r"|datasets\.(?P<dataset>.+)\.(resolution|mean|std|augment(\..+)?))"
)
"""Params that leave the validation images as they are, so that scores can be compared."""
COMBINATIONS = 50  # that are looked at before a value is refused which fits no other value of params.yaml


@dataclass(frozen=True)
class Choices:
    """One of some values of any kind."""

    values: tuple[Any, ...]

    @property
    def samples(self) -> tuple[Any, ...]:
        """Values that are checked before any work."""
        return self.values

    def grid(self) -> tuple[Any, ...]:
        return self.values


@dataclass(frozen=True)
class Range:
    """A number between two, both included.

    Attributes:
        log: as likely in each order of magnitude.
        step: from one value to the next; None: any number between.
        whole: an int.
    """

    low: float
    high: float
    log: bool
    step: float | None
    whole: bool

    @property
    def samples(self) -> tuple[float, ...]:
        return self.low, self.high

    def grid(self) -> tuple[float, ...]:
        """All values.

        Raises:
            ValueError: there is no end of them.
        """
        if self.log or (self.step is None and not self.whole):
            raise ValueError("a grid needs a list, or a range with a step")
        step = self.step or 1
        values = (self.low + number * step for number in range(round((self.high - self.low) / step) + 1))
        return tuple(value if self.whole else float(f"{value:.12g}") for value in values)


Domain = Choices | Range


class _RangeEntry(Section):
    low: int | Float
    high: int | Float
    log: bool = False
    step: PositiveInt | PositiveFloat | None = None


class SweepFile(Section):
    """The content of sweep.yaml; docs/sweeps.md says what each key does."""

    study: str | None = None
    params: Annotated[dict[str, Any], Field(min_length=1)]
    metric: str | None = None
    direction: Literal["maximize", "minimize"] | None = None
    trials: PositiveInt | None = None
    hours: PositiveFloat | None = None
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    pruner: Literal["median", "hyperband", "none"] = "median"
    failures: PositiveInt = 5
    seed: Seed = 0

    @field_validator("study")
    @classmethod
    def _name_of_experiments(cls, name: str | None) -> str | None:
        if name is not None and not STUDY.fullmatch(name):
            raise ValueError(f"must be letters, digits, - and _, as it names experiments, and is {name!r}")
        return name

    @field_validator("metric")
    @classmethod
    def _not_the_test(cls, name: str | None) -> str | None:
        if name is not None and not name.startswith("val_"):
            raise ValueError(
                f"must be one of the validation split, as val_accuracy, and is {name!r}: what is chosen by the test "
                "split cannot be reported on it"
            )
        return name


TRIALS = 20  # where sweep.yaml does not say how many, and there is no grid


@dataclass(frozen=True)
class Sweep:
    """A checked sweep.yaml.

    Attributes:
        study: its name. path: of the file.
        space: by dotted key.
        trials: how many there are to be.
        epochs: of a training with params.yaml.
    """

    study: str
    path: Path
    file: SweepFile
    space: Mapping[str, Domain]
    trials: int
    epochs: int

    def grid(self) -> Iterator[dict[str, Any]]:
        """All combinations, the last key changing first."""
        for values in itertools.product(*(domain.grid() for domain in self.space.values())):
            yield dict(zip(self.space, values, strict=True))


def read_sweep(path: Path, params: Params) -> Sweep:
    """Read and check sweep.yaml in a repository whose root is the current folder.

    Args:
        params: of the workspace.

    Raises:
        FormworkError: naming each key that is unknown, with the nearest, and each value that cannot be used.
    """
    try:
        content = read_yaml(path)
    except FileNotFoundError as error:
        raise FormworkError(
            f"{path} is missing. Say in it which params to try, for example\n\n{EXAMPLE}\ndocs/sweeps.md has all keys."
        ) from error
    except OSError as error:
        raise FormworkError(f"{path} cannot be read: {error.strerror}.") from error
    if not isinstance(content, dict):
        raise FormworkError(f"{path} must hold a mapping with the key params, for example\n\n{EXAMPLE}")
    try:
        file = SweepFile.model_validate(content)
    except ValidationError as error:
        raise FormworkError("\n".join([f"{path}:", *_reasons(error, SweepFile)])) from error
    study = file.study or path.stem
    if not STUDY.fullmatch(study):
        raise FormworkError(f"{path}: set `study`, a name of letters, digits, - and _, which the file's own is not.")
    space = _space(path, file, params)
    sweep = Sweep(study, path, file, space, file.trials or TRIALS, params.trainer.max_epochs)
    if file.sampler != "grid":
        return sweep
    size = math.prod(len(domain.grid()) for domain in space.values())
    return Sweep(study, path, file, space, min(size, file.trials or size), params.trainer.max_epochs)


def _space(path: Path, file: SweepFile, params: Params) -> dict[str, Domain]:
    wrong: list[str] = []
    space: dict[str, Domain] = {}
    for key, entry in file.params.items():
        try:
            _check_key(key, params)
            space[key] = _domain(key, entry)
            if file.sampler == "grid":
                space[key].grid()
        except ValueError as error:
            wrong.append(f"  params.{key}: {error}")
    if "trainer.max_epochs" in file.params and file.pruner != "none":
        wrong.append(
            "  pruner: trials of different trainer.max_epochs cannot be compared before their end: set pruner: none"
        )
    if wrong:
        raise FormworkError("\n".join([f"{path}:", *wrong]))
    _try_values(path, space)
    return space


def _check_key(key: str, params: Params) -> None:
    """Raises ValueError: a key that is none of params.yaml, or of which scores cannot be compared."""
    found = COMPARABLE.fullmatch(key)
    sections = Params.model_fields
    if key.split(".", maxsplit=1)[0] not in sections:
        raise ValueError(f"unknown. {did_you_mean(key.split('.', maxsplit=1)[0], sections)}")
    if key in sections and key != "seed":
        raise ValueError(f"is a section: name a key of it, as {key}.{next(iter(_fields(key)), '...')}")
    if not found:
        raise ValueError("decides which images there are, or none of the training: scores could not be compared")
    if found["dataset"] not in (None, params.data.name):
        raise ValueError(f"is about another dataset than data.name, which is {params.data.name!r}")


def _fields(section: str) -> Mapping[str, Any]:
    annotation = Params.model_fields[section].annotation
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return annotation.model_fields if is_model else {}  # type: ignore[union-attr]


def _domain(key: str, entry: Any) -> Domain:
    """Raises ValueError: it is none."""
    if isinstance(entry, list):
        texts = [dump_yaml(value, one_line=True) for value in entry]
        if len(set(texts)) < max(len(texts), 2):
            raise ValueError("a list must hold at least two values, and none twice")
        return Choices(tuple(entry))
    if not isinstance(entry, dict):
        raise ValueError(f"must be a list of values, or a range as {{low: 0, high: 1}}, and is {entry!r}")
    try:
        read = _RangeEntry.model_validate(entry)
    except ValidationError as error:
        raise ValueError("; ".join(reason.strip() for reason in _reasons(error, _RangeEntry))) from error
    given = (read.low, read.high, read.step or 1)
    takes = kinds_of_value(key)
    whole = float not in takes and (int in takes or all(isinstance(number, int) for number in given))
    if whole and not all(isinstance(number, int) for number in given):
        raise ValueError("is a whole number: low, high and step must be, too")
    if not read.low < read.high:
        raise ValueError(f"low must be below high, and is {read.low!r}, with high {read.high!r}")
    if read.log and read.low <= 0:
        raise ValueError(f"low must be above 0 with log: true, and is {read.low!r}")
    if read.log and read.step is not None:
        raise ValueError("has log: true or a step, not both")
    steps = (read.high - read.low) / (read.step or 1)
    if read.step is not None and (steps < 1 or abs(steps - round(steps)) > 1e-9):
        raise ValueError(f"high must be low plus a multiple of step, and is {read.high!r}")
    return Range(read.low, read.high, read.log, read.step, whole)


def _try_values(path: Path, space: Mapping[str, Domain]) -> None:
    """Refuse values that load_params refuses, alone and with every value of the others that is looked at: a number of
    timesteps may fit one of the models alone."""
    wrong = []
    for key, domain in space.items():
        for value in domain.samples:
            if not (error := _refusal({key: value})):
                continue
            rest = {other: one.samples for other, one in space.items() if other != key}
            combinations = list(itertools.islice(itertools.product(*rest.values()), 10_000))
            random.Random(0).shuffle(combinations)
            others = (dict(zip(rest, values, strict=True)) for values in combinations[:COMBINATIONS])
            if not rest or all(_refusal({key: value, **other}) for other in others):
                shown = dump_yaml(value, one_line=True)
                lines = [line.strip() for line in str(error).splitlines() if line.startswith("  ")] or [str(error)]
                wrong.append(f"  params.{key}, with {shown}: {'; '.join(lines)}")
    if wrong:
        raise FormworkError("\n".join([f"{path}:", *wrong]))


def _refusal(overrides: Mapping[str, Any]) -> ParamsError | None:
    try:
        load_params(overrides=overrides)
    except ParamsError as error:
        return error
    return None


def _reasons(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """A line for each key."""
    lines: dict[str, list[str]] = {}
    for item in error.errors():
        key = str(item["loc"][0]) if item["loc"] else ""
        if item["type"] == "extra_forbidden":
            reason = f"unknown. {did_you_mean(key, model.model_fields)}"
        elif item["type"] == "missing":
            reason = "is missing"
        elif item["type"] == "value_error":
            reason = str(item["ctx"]["error"])
        else:
            reason = f"{item['msg'][0].lower()}{item['msg'][1:]}, and it is {item['input']!r}"
        lines.setdefault(key, []).append(reason)
    return [f"  {key}: {' or '.join(dict.fromkeys(reasons))}" for key, reasons in lines.items()]
