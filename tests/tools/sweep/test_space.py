"""sweep.yaml: what it may hold, and that every mistake is told before any work."""

from pathlib import Path

import pytest

from formwork.errors import FormworkError
from formwork.params import load_params
from formwork.tools.sweep.space import Choices, Range, Sweep, read_sweep
from formwork.yaml import dump_yaml
from tests.workspace import default_params, write_file


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_file(Path("params.yaml"), dump_yaml(default_params(digits={"resolution": 8}, mnist={"resolution": 28})))


def read(text: str) -> Sweep:
    write_file(Path("sweep.yaml"), text)
    return read_sweep(Path("sweep.yaml"), load_params())


def of(entry: str) -> Sweep:
    return read(f"params:\n  {entry}\n")


@pytest.mark.parametrize(
    ("entry", "domain"),
    [
        ("train.lr: {low: 1e-4, high: 0.1, log: true}", Range(0.0001, 0.1, log=True, step=None, whole=False)),
        ("train.weight_decay: {low: 0, high: 1}", Range(0, 1, log=False, step=None, whole=False)),
        ("train.label_smoothing: {low: 0, high: 0.3, step: 0.1}", Range(0, 0.3, log=False, step=0.1, whole=False)),
        ("data.batch_size: {low: 16, high: 64, step: 16}", Range(16, 64, log=False, step=16, whole=True)),
        ("data.batch_size: {low: 8, high: 64, log: true}", Range(8, 64, log=True, step=None, whole=True)),
        ("trainer.checkpoint_minutes: {low: 1, high: 5}", Range(1, 5, log=False, step=None, whole=False)),
        ("data.use_ffcv: [true, false]", Choices((True, False))),
        ("trainer.precision: [32-true, bf16-true]", Choices(("32-true", "bf16-true"))),
        ("augment.train: [[Resize: {}], null]", Choices(([{"Resize": {}}], None))),
        ("datasets.digits.resolution: [8, 16]", Choices((8, 16))),
        ("seed: [0, 1, 2]", Choices((0, 1, 2))),
    ],
)
def test_a_domain_is_a_list_or_a_range(entry: str, domain: object) -> None:
    assert list(of(entry).space.values()) == [domain]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("train.lrr: [0.1, 0.2]", "params.train.lrr, with 0.1: train.lrr: unknown. Did you mean 'lr'?"),
        ("tran.lr: [0.1, 0.2]", "params.tran.lr: unknown. Did you mean 'train'?"),
        ("train: [0.1, 0.2]", "params.train: is a section: name a key of it, as train.optimizer"),
        ("train.lr: [0.1, -1]", "params.train.lr, with -1: train.lr: input should be greater than 0"),
        ("train.lr: [0.1, fast]", "with fast: train.lr: input should be a valid number"),
        ("model.name: [small_cnn, timn/resnet18]", "params.model.name, with timn/resnet18: model.name"),
        ("train.lr: {low: 0.1, high: 0.01}", "low must be below high"),
        ("train.lr: {low: 0, high: 0.1, log: true}", "low must be above 0 with log: true"),
        ("train.lr: {low: 0.1, high: 0.4, log: true, step: 0.1}", "log: true or a step, not both"),
        ("train.lr: {low: 0.1, high: 0.4, step: 0.2}", "high must be low plus a multiple of step"),
        ("train.lr: {low: 0.1, high: 0.4, step: 1}", "high must be low plus a multiple of step"),
        ("train.lr: {low: 0.1, hgih: 0.4}", "hgih: unknown. Did you mean 'high'?"),
        ("train.lr: {low: 0.1, high: .inf}", "high"),
        ("data.batch_size: {low: 16, high: 64.5}", "is a whole number: low, high and step must be, too"),
        ("train.lr: 0.1", "must be a list of values, or a range as {low: 0, high: 1}, and is 0.1"),
        ("train.lr: [0.1]", "at least two values"),
        ("train.lr: [0.1, 0.2, 0.1]", "none twice"),
        ("data.name: [digits, mnist]", "params.data.name: decides which images there are"),
        ("data.split.val: {low: 0.1, high: 0.3}", "scores could not be compared"),
        ("datasets.mnist.resolution: [8, 28]", "is about another dataset than data.name, which is 'digits'"),
        ("trainer.max_epochs: [2, 4]", "set pruner: none"),
    ],
)
def test_what_cannot_be_tried_is_refused_with_its_key(entry: str, words: str) -> None:
    with pytest.raises(FormworkError) as caught:
        of(entry)
    assert words in str(caught.value)
    assert "sweep.yaml:" in str(caught.value)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("trails: 3", "trails: unknown. Did you mean 'trials'?"),
        ("trials: 0", "trials: input should be greater than or equal to 1"),
        ("trials: many", "trials: input should be a valid integer"),
        ("sampler: bayes", "sampler: input should be 'tpe', 'random' or 'grid'"),
        ("study: a/b", "study: must be letters, digits, - and _"),
        ("metric: test_accuracy", "what is chosen by the test split cannot be reported on it"),
        ("sampler: grid", "params.train.lr: a grid needs a list, or a range with a step"),
    ],
)
def test_the_other_keys_are_checked(line: str, words: str) -> None:
    with pytest.raises(FormworkError) as caught:
        read(f"{line}\nparams:\n  train.lr: {{low: 0.1, high: 0.2}}\n")
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "params: {}", "params: [", "trials: 3"])
def test_a_file_without_params_is_refused(text: str) -> None:
    with pytest.raises(FormworkError, match=r"sweep\.yaml"):
        read(text)


def test_a_missing_file_shows_what_to_write_in_it() -> None:
    with pytest.raises(FormworkError, match=r"mine\.yaml is missing") as caught:
        read_sweep(Path("mine.yaml"), load_params())
    example = str(caught.value).split("\n\n")[1]
    assert set(read(example).space) == {"train.lr", "train.label_smoothing", "model.name"}


def test_a_value_is_refused_only_where_it_fits_no_value_of_the_others() -> None:
    assert read("params:\n  model.timesteps: [1, 4]\n  model.name: [small_cnn, rcnn]\n").space
    with pytest.raises(FormworkError, match=r"params.model.timesteps, with 4: .*rcnn"):
        read("params:\n  model.timesteps: [1, 4]\n  model.name: [small_cnn, resnet18]\n")


def test_the_study_is_named_by_the_file_and_a_grid_has_all_combinations() -> None:
    text = "sampler: grid\nparams:\n  train.lr: [0.1, 0.2]\n  train.label_smoothing: {low: 0, high: 0.3, step: 0.1}\n"
    sweep = read(text)
    assert (sweep.study, sweep.trials) == ("sweep", 8)
    assert [tuple(values.values()) for values in sweep.grid()][:5] == [
        (0.1, 0.0),
        (0.1, 0.1),
        (0.1, 0.2),
        (0.1, 0.3),
        (0.2, 0.0),
    ]
    assert read(f"trials: 3\n{text}").trials == 3
    assert read(f"trials: 99\n{text}").trials == 8
