"""The model card: what is known of models/best.pt, as a Markdown page that goes with it.

All of it comes from the model file, the manifests, the metrics and dvc.lock, so that it is the same on any day, and of
this model: where dvc.lock describes another one, there is no card.
"""

import ast
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import formwork.sources
from formwork.errors import FormworkError
from formwork.escapes import printable
from formwork.fetched import fetched_files
from formwork.folders import Folders
from formwork.images.manifest import read_manifest
from formwork.models.model_file import TrainedModel, load_model
from formwork.params import Train, Trainer
from formwork.text import count, score, table
from formwork.tools.scores import score_of
from formwork.yaml import dump_yaml, read_yaml

TITLES = {"train": "training", "val": "validation", "test": "test"}
TASKS = {
    "classes": "which of {} an image shows",
    "multilabel": "which of {} an image has, any number of them",
    "regression": "{} of an image",
}
NOUNS = {"classes": ("class", "classes"), "multilabel": ("label", "labels"), "regression": ("number", "numbers")}
MOST_NAMES = 100  # of classes that are listed
ALWAYS = ("data.batch_size", "seed", "train.lr", "train.optimizer", "trainer.max_epochs")
HARDWARE = ("trainer.devices", "trainer.num_nodes", "trainer.strategy", "trainer.accelerator", "trainer.loggers")
LICENCES = ("licence", "license", "copying")  # beginnings of file names, in any case


def model_card(folders: Folders, model: Path, results: Path, lock: Path = Path("dvc.lock")) -> str:
    """
    Args:
        folders: of the dataset. results: those of all stages.
        lock: what DVC has made, and from what.

    Raises:
        FormworkError: the model, its data or its metrics are missing, or are not what the lock file describes.
    """
    trained = load_model(model)
    stages = _stages(lock)
    _check(stages, folders, model)
    metrics = json.loads((results / "evaluate/metrics.json").read_text(encoding="utf-8"))
    settings = trained.settings
    names = settings.target_names or settings.class_names
    what = TASKS[settings.task].format(count(len(names), *NOUNS[settings.task]))
    return (
        "\n\n".join(
            [
                f"# {printable(settings.name)}, {printable(trained.params.name)}",
                f"The model says {what}. {_listed(names)}",
                "## Results",
                _results(metrics),
                "## Model",
                _model(trained, model),
                "## Data",
                *_data(folders, settings.splits),
                "## Training",
                *_training(trained, _values(stages["train"])),
                "## Use",
                _use(trained, model),
            ]
        )
        + "\n"
    )


# --- What DVC says --------------------------------------------------------------------------------


def _stages(lock: Path) -> dict[str, Any]:
    """Raises FormworkError: the lock file has no training and evaluation."""
    stages = read_yaml(lock).get("stages", {}) if lock.exists() else {}
    if missing := [name for name in ("train", "evaluate") if name not in stages]:
        raise FormworkError(f"{lock} says nothing of the stage {missing[0]}. Run `dvc repro`.")
    return stages


def _check(stages: Mapping[str, Any], folders: Folders, model: Path) -> None:
    """Raises FormworkError: a file is another than the one that the results were made from."""
    files = {model, folders.settings, *map(folders.manifest, TITLES)}
    known = [*stages["train"]["outs"], *stages["train"]["deps"], *stages["evaluate"]["deps"]]
    paths = {entry["path"] for entry in known}
    if str(model) not in paths or str(folders.settings) not in paths:
        raise FormworkError(f"dvc.lock is of another dataset than {folders.interim}. Run `dvc repro`.")
    for entry in known:
        path = Path(entry["path"])
        if path in files and hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() != entry["md5"]:
            raise FormworkError(f"{path} is not the one that dvc.lock describes. Run `dvc repro`.")


def _values(stage: Mapping[str, Any]) -> dict[str, Any]:
    """The params of a stage by dotted key, as they were when it ran."""
    return dict(_flat(stage["params"]["params.yaml"]))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


# --- Sections -------------------------------------------------------------------------------------


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(_code(name) for name in names[:MOST_NAMES])
    return f"{shown}, and {len(names) - MOST_NAMES} more." if len(names) > MOST_NAMES else f"{shown}."


def _results(metrics: Mapping[str, Any]) -> str:
    splits = [split for split in ("test", "val") if f"{split}_images" in metrics]
    intervals = metrics.get("intervals", {})
    best = score_of(metrics).name
    names = [name.removeprefix(f"{splits[0]}_") for name in metrics if name.startswith(f"{splits[0]}_")]
    names = sorted(names, key=lambda name: (name != best, name == "images"))
    rows = []
    for name in names:
        cells = [_result(metrics[f"{split}_{name}"], intervals.get(f"{split}_{name}")) for split in splits]
        rows.append([name.replace("_", " "), *cells])
    known = "" if not intervals else "In brackets, the 95 % interval over resampled images, of this training alone.\n\n"
    return known + table(["", *(TITLES[split] for split in splits)], rows)


def _result(value: Any, interval: Sequence[float] | None) -> str:
    if isinstance(value, Mapping):  # by target
        return ", ".join(f"{printable(name)} {score(one)}" for name, one in value.items())
    text = score(value) if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else _code(value)
    return f"{text} ({score(interval[0])} to {score(interval[1])})" if interval else text


def _model(trained: TrainedModel, model: Path) -> str:
    params = trained.params
    parameters = sum(one.numel() for one in trained.network.parameters())
    shown = params.model_dump()
    rows = [
        ["architecture", _code(params.name)],
        ["parameters", f"{parameters:,}"],
        [
            "initial weights",
            {None: "random", "default": "published with the architecture"}.get(params.weights, _code(params.weights)),
        ],
        *(
            [name, _code(json.dumps(shown[name]))]
            for name in shown
            if name not in ("name", "weights") and _is_set(params, name)
        ),
        ["input", f"RGB images, {trained.settings.resolution} pixels a side"],
        ["file", f"{_code(model)}, SHA-256 {_code(hashlib.sha256(model.read_bytes()).hexdigest())}"],
    ]
    return table(["", ""], rows)


def _is_set(params: Any, name: str) -> bool:
    return getattr(params, name) != type(params).model_fields[name].get_default(call_default_factory=True)


def _data(folders: Folders, splits: Sequence[str]) -> Iterator[str]:
    rows = []
    for split in splits:
        manifest = read_manifest(folders.manifest(split))
        rows.append([TITLES[split], f"{len(manifest):,}", _code(manifest.digest)])
    if origin := _origin(folders.raw):
        yield origin
    yield table(["split", "images", "SHA-256 of its manifest"], rows)
    if licences := _licences(folders.raw):
        yield f"Its licence: {', '.join(map(_code, licences))}."


def _origin(raw: Path) -> str:
    """What the source of a fetched dataset says of it; "" of any other."""
    if fetched_files(raw) is None:
        return ""
    source = Path(formwork.sources.__path__[0]) / f"{raw.name}.py"
    return (ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or "") if source.exists() else ""


def _licences(raw: Path) -> list[Path]:
    return sorted(path for path in raw.glob("*") if path.is_file() and path.name.lower().startswith(LICENCES))


def _training(trained: TrainedModel, values: Mapping[str, Any]) -> Iterator[str]:
    defaults = dict(_flat({"train": Train().model_dump(), "trainer": Trainer().model_dump()}))
    shown = {
        key: value
        for key, value in sorted(values.items())
        if key in ALWAYS
        or (key.startswith(("train.", "trainer.")) and key not in HARDWARE and value != defaults.get(key))
    }
    yield "What differs from the defaults, and what always matters:"
    yield f"```yaml\n{dump_yaml(shown).rstrip()}\n```"
    lists = {"train": trained.settings.augment_train, "val": trained.settings.augment_val}
    yield f"Augmentation in training, and preprocessing everywhere else:\n\n```yaml\n{dump_yaml(lists).rstrip()}\n```"
    mean, std = (", ".join(map(str, values)) for values in (trained.settings.mean, trained.settings.std))
    yield f"Channels, of values from 0 to 1: mean {mean}; standard deviation {std}."


def _use(trained: TrainedModel, model: Path) -> str:
    return (
        f"```console\n$ python src/predict.py {model} FOLDER --output predictions.csv\n```\n\n"
        f'```python\nimport formwork\n\nformwork.load_model("{model}").predict(["image.jpg"])\n```'
    )


def _code(text: object) -> str:
    """Text as it is, in Markdown."""
    word = printable(text)
    fence = "``" if "`" in word else "`"
    return f"{fence}{word}{fence}" if fence == "`" else f"{fence} {word} {fence}"
