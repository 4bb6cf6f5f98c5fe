"""The user's DVC experiments with one dataset, read from git: what differs in their params, and what came of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from formwork.git import experiments, read_files
from formwork.params import Params
from formwork.system import machine_id
from formwork.tools.scores import score_of
from formwork.yaml import YamlError, parse_yaml

FILES = ("params.yaml", "results/evaluate/metrics.json", "results/speed/metrics.json")


@dataclass(frozen=True)
class Experiment:
    """An experiment, as text.

    Attributes:
        score: on the validation split, such as "accuracy 97.50%".
        changes: params that differ from those of the workspace, as `train.lr=0.01`; "" where none do.
    """

    name: str
    changes: str
    score: str
    images_per_second: str
    loader: str


def find_experiments(root: Path, params: Params) -> list[Experiment]:
    """The experiments with the dataset of `params` in the repository `root`, the best first.

    Those without metrics, or of a version whose params are others, are left out.

    Raises:
        FormworkError: it is no git repository.
    """
    named = list(experiments(root))
    contents = read_files(root, [f"{revision}:{file}" for revision, _ in named for file in FILES])
    here, found = _flat(_of_dataset(params)), []
    for number, (_, name) in enumerate(named):
        try:
            raw, *metrics = (content or b"" for content in contents[number * len(FILES) : (number + 1) * len(FILES)])
            there = Params.model_validate(parse_yaml(raw, FILES[0]))
            evaluation, speed = map(json.loads, metrics)
            score = score_of(evaluation)
            value = score.of(evaluation) or 0.0
            rate, loader = f"{speed['images_per_second']:,.0f}", str(speed["loader"])
            rate += "" if speed.get("machine_id") == machine_id() else ", on another machine"
        except (ValueError, KeyError, TypeError, YamlError):
            continue
        if there.data.name != params.data.name:
            continue
        values = _flat(_of_dataset(there))
        changes = [f"{key}={_shown(values.get(key))}" for key in values | here if values.get(key) != here.get(key)]
        merit = value if score.higher else -value
        found.append((merit, Experiment(name, ", ".join(changes), f"{score.title} {score.text(value)}", rate, loader)))
    return [experiment for _, experiment in sorted(found, key=lambda one: -one[0])]


def _of_dataset(params: Params) -> dict[str, Any]:
    """The params without the settings of other datasets."""
    return params.model_dump() | {"datasets": params.dataset.model_dump()}


def _flat(values: Mapping[str, Any], start: str = "") -> dict[str, Any]:
    """{"train.lr": 0.003, ...}"""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{start}{key}.") if isinstance(value, Mapping) else {f"{start}{key}": value}
    return flat


def _shown(value: Any) -> str:
    return str(value) if isinstance(value, str) else json.dumps(value)
