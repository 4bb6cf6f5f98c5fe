"""params.yaml: every mistake is reported before any work, with the place and the way out."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import formwork
from formwork.errors import ParamsError
from formwork.params import Dataset, Params, load_params
from formwork.yaml import dump_yaml
from tests.make_images import make_dataset
from tests.params import FIELDS

ROOT = Path(formwork.__file__).parents[2]


def load(tmp_path: Path, text: str) -> Params:
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return load_params(path)


def load_with(tmp_path: Path, **values: object) -> Params:
    """Load the smallest params.yaml with values set at dotted keys, "__" standing for the dot."""
    tree: dict[str, Any] = {"data": {"name": "digits"}}
    for key, value in values.items():
        *sections, last = key.split("__")
        section = tree
        for name in sections:
            section = section.setdefault(name, {})
        section[last] = value
    return load(tmp_path, dump_yaml(tree))


# --- Mistakes -----------------------------------------------------------------------------------

SECTIONS = [name for name, is_section in FIELDS.items() if is_section]
EMPTY = [name for name in SECTIONS if not any(key.startswith(f"{name}.") for key in FIELDS)]


@pytest.mark.parametrize("section", ["", *(f"{name}." for name in SECTIONS if name not in EMPTY), "datasets.digits."])
def test_an_unknown_key_is_refused_with_the_nearest_one(tmp_path: Path, section: str) -> None:
    known = next(key for key in FIELDS if key.startswith(section) and "." not in key.removeprefix(section))
    name = known.removeprefix(section)

    with pytest.raises(ParamsError) as error:
        load_with(tmp_path, **{f"{section}{name}x".replace(".", "__"): 1})

    assert str(error.value) == f"{tmp_path}/params.yaml:\n  {section}{name}x: unknown. Did you mean {name!r}?"


@pytest.mark.parametrize("section", EMPTY)
def test_a_key_where_there_is_none_is_refused(tmp_path: Path, section: str) -> None:
    with pytest.raises(ParamsError, match=rf"{section}\.size: unknown\. Nothing can be set there\.$"):
        load_with(tmp_path, **{f"{section}.size".replace(".", "__"): 1})


def test_an_unknown_key_like_no_other_gets_the_list(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"model\.qqqq: unknown\. Known: .*name, .*timesteps"):
        load_with(tmp_path, model__qqqq=1)


NO_NAMES = [
    "",
    ".",
    "..",
    "-x",
    "--help",
    "a/b",
    "/etc",
    "x;touch y",
    "$(touch y)",
    "`touch y`",
    "a'b",
    'a"b',
    "a\nb",
    "a\0b",
]
NO_NAMES += [
    "x ",
    " x",
    "~",
    "*",
    "a\\b",
    "a:b",
    "größe",
    "日本",
    "${seed}",
    "x" * 101,
    ".hidden",
    "_x",
    "a&b",
    "a|b",
    "#a",
]


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("data", 5, "valid dictionary"),
        ("data.name", 5, "valid string"),
        ("data.name", "../up", "match pattern"),
        ("data.name", "my photos", "letters, digits, '.', '_' and '-', with a letter or digit first"),
        *[("data.name", name, f"and it is {name!r}. Rename the folder") for name in NO_NAMES],
        ("data.fetch", "digits", "valid list"),
        ("data.fetch", [1], "valid string"),
        ("data.use_ffcv", "yes", "valid boolean"),
        ("data.split.val", 0, "greater than 0"),
        ("data.split.val", 1, "less than 1"),
        ("data.split.val", True, "valid number"),
        ("data.on_bad_image", "ignore", "'error' or 'skip'"),
        ("data.on_duplicate", "remove", "'report', 'error' or 'skip'"),
        ("data.batch_size", 0, "greater than or equal to 1"),
        ("data.batch_size", 64.0, "valid integer"),
        ("data.num_workers", -1, "greater than or equal to 0"),
        ("ffcv.order", "shuffled", "'quasi_random'"),
        ("ffcv.batches_ahead", None, "valid integer"),
        ("ffcv.beton.write_mode", "png", "'proportion'"),
        ("ffcv.beton.smart_threshold", float("inf"), "finite number"),
        ("ffcv.beton.compress_probability", 1.1, "less than or equal to 1"),
        ("ffcv.beton.max_resolution", 65501, "less than or equal to 65500"),
        ("ffcv.beton.max_resolution", "auto", "valid integer"),
        ("ffcv.beton.jpeg_quality", 101, "less than or equal to 100"),
        ("augment.train", {"Resize": {}}, "a list of operations"),
        ("augment.val", [{"Resize": 3}], "an entry is one operation with its arguments"),
        ("model.timesteps", 0, "greater than or equal to 1"),
        ("train.lr", "fast", "valid number"),
        ("train.lr", float("nan"), "finite number"),
        ("train.label_smoothing", 1, "less than 1"),
        ("trainer.devices", "all", "valid integer or input should be 'auto', and it is 'all'"),
        ("trainer.precision", 32, "'32-true'"),
        ("evaluate.worst_mistakes", "many", "valid integer"),
        ("seed", 2**32, "less than 4294967296"),
        ("datasets", [], "valid dictionary"),
        ("datasets.digits", 8, "valid dictionary"),
        ("datasets.digits.resolution", "big", "valid integer or input should be 'auto', and it is 'big'"),
        ("datasets.digits.mean", [0.5, 0.5], "at least 3 items"),
        ("datasets.digits.std", [0.5, 0.5, 0], "greater than 0"),
        ("datasets.digits.augment.train", 5, "a list of operations"),
        ("datasets.digits.groups", {"odd": "1"}, "valid list"),
        ("datasets.digits.groups", {"odd": [1.5]}, "valid string or input should be a valid integer"),
        ("data.group", 3, "valid string"),
        ("sources.imagenette.size", "320", "'320px'"),
        ("sources.synthetic.images", 0, "greater than or equal to 1"),
    ],
)
def test_a_wrong_value_is_refused_at_its_key(tmp_path: Path, key: str, value: object, reason: str) -> None:
    with pytest.raises(ParamsError) as error:
        load_with(tmp_path, **{key.replace(".", "__"): value})

    first, *mistakes = str(error.value).splitlines()
    assert first == f"{tmp_path}/params.yaml:"
    assert len(mistakes) == 1
    assert mistakes[0].startswith(f"  {key}: ")
    assert reason in mistakes[0]


@pytest.mark.parametrize(
    ("values", "advice"),
    [
        ({"trainer__devices": 2}, "Set ffcv.distributed: true, or trainer.devices: 1"),
        ({"trainer__devices": 3, "ffcv__distributed": True, "data__batch_size": 64}, "use a multiple of 3"),
        ({"data__fetch": ["digit"]}, "data.fetch lists 'digit', which cannot be fetched. Did you mean 'digits'?"),
        ({"data__fetch": ["digits", "x;touch y"]}, "data.fetch lists 'x;touch y', which cannot be fetched. Known: cif"),
        ({"data__fetch": ["mnist", "digits", "mnist"]}, "data.fetch lists 'mnist' more than once"),
        (
            {"model__timesteps": 4, "model__name": "resnet18"},
            "4 timesteps need a recurrent model, rcnn or one of your own, and name is resnet18",
        ),
    ],
)
def test_values_must_fit_together(tmp_path: Path, values: dict[str, object], advice: str) -> None:
    with pytest.raises(ParamsError, match=advice):
        load_with(tmp_path, **values)


def test_values_that_fit_together_are_accepted(tmp_path: Path) -> None:
    params = load_with(
        tmp_path,
        trainer__devices=2,
        ffcv__distributed=True,
        model__timesteps=4,
        model__name="rcnn",
        trainer__max_epochs=1,
    )

    assert (params.trainer.devices, params.model.timesteps) == (2, 4)


def test_all_mistakes_are_reported_together(tmp_path: Path) -> None:
    with pytest.raises(ParamsError) as error:
        load_with(tmp_path, train__lrr=1, data__batch_size="64", datasets__digits__std="none", model__timesteps=3)

    keys = [line.split(":")[0].strip() for line in str(error.value).splitlines()[1:]]
    assert sorted(keys) == ["data.batch_size", "datasets.digits.std", "model", "train.lrr"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("data: [", "no valid YAML"),
        ("data: \x00", "no valid YAML"),
        ("", "must hold a mapping of sections, and holds NoneType"),
        ("- data", "holds list"),
        ("seed: 1", "data: is missing"),
        ("data: {fetch: []}", "data.name: is missing"),
        ("1: 2\ndata: {name: digits}", "1: "),
    ],
)
def test_what_is_no_mapping_of_sections_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ParamsError) as error:
        load(tmp_path, text)

    assert str(error.value).startswith(f"{tmp_path}/params.yaml")
    assert reason in str(error.value)


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes("data: {name: größe}".encode("latin-1"))

    with pytest.raises(ParamsError, match="no valid YAML"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize("name", ["params.yaml", ""])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ParamsError, match=f"{tmp_path}/params.yaml is missing. Run from the root"):
        load_params(tmp_path / name)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").mkdir()

    with pytest.raises(ParamsError, match=f"{tmp_path}/params.yaml cannot be read: Is a directory"):
        load_params(tmp_path)


# --- Values -------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["1e-3", "1.0e-3", "0.001", "'1e-3'"])
def test_numbers_may_be_written_as_people_do(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, f"data: {{name: digits}}\ntrain: {{lr: {text}}}").train.lr == 0.001


def test_values_are_overridden_by_dotted_key(tmp_path: Path) -> None:
    load_with(tmp_path, data__batch_size=32, datasets__digits__resolution=8)

    params = load_params(tmp_path, {"data.batch_size": 16, "model.name": "resnet18", "datasets.digits.std": "auto"})

    assert (params.data.name, params.data.batch_size, params.model.name) == ("digits", 16, "resnet18")
    assert params.dataset.resolution == 8


def test_a_mistake_in_an_override_is_refused_as_in_the_file(tmp_path: Path) -> None:
    load_with(tmp_path)

    with pytest.raises(ParamsError) as error:
        load_params(tmp_path, {"data.batchsize": 16, "seed.x": 1})

    assert str(error.value).splitlines() == [
        f"{tmp_path}/params.yaml, with data.batchsize, seed.x overridden:",
        "  data.batchsize: unknown. Did you mean 'batch_size'?",
        "  seed: input should be a valid integer, and it is {'x': 1}",
    ]


def test_a_dataset_without_entry_has_the_defaults(tmp_path: Path) -> None:
    params = load_with(tmp_path, data__name="mine", datasets__digits__resolution=8)

    assert params.dataset == Dataset()
    assert params.dataset.resolution == "auto"


# --- From the command line ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "arguments"),
    [
        ("link", "raw made/interim made/processed made/report.csv made/splits.csv"),
        ("convert", "raw interim/train.csv made/train.beton made/train.json made/a.json made/b.json"),
        ("fetch", "digits made/digits"),
    ],
)
def test_a_stage_stops_before_any_work(tmp_path: Path, stage: str, arguments: str) -> None:
    make_dataset(tmp_path / "raw")
    (tmp_path / "params.yaml").write_text("data: {name: digits, batchsize: 3}")

    done = subprocess.run(
        [sys.executable, ROOT / "src" / f"{stage}.py", *arguments.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "ERROR: params.yaml:\n  data.batchsize: unknown. Did you mean 'batch_size'?\n"
    assert not (tmp_path / "made").exists()


def test_the_epochs_of_a_resolution_schedule_follow_each_other(tmp_path: Path) -> None:
    schedule = [[1, 128], [7, 160]]
    assert load_with(tmp_path, ffcv__resolution_schedule=schedule).ffcv.resolution_schedule == schedule
    with pytest.raises(
        ParamsError, match=r"the epochs of its \[epoch, resolution\] pairs must increase, and are \[7, 7\]"
    ):
        load_with(tmp_path, ffcv__resolution_schedule=[[7, 128], [7, 160]])
    with pytest.raises(ParamsError, match=r"ffcv\.resolution_schedule"):
        load_with(tmp_path, ffcv__resolution_schedule=[[0, 128]])


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("Resize", "must be a list of operations, each as `- Resize: {}`, and is 'Resize'"),
        ({"Resize": {}}, "must be a list of operations, each as `- Resize: {}`, and is {'Resize': {}}"),
        (
            ["Resize"],
            "an entry is one operation with its arguments, as `- RandomHorizontalFlip: {p: 0.5}`, and one is 'Re",
        ),
        ([{"Resize": None}], "and one is {'Resize': None}"),
        ([{"RandomHorizontalFlip": 0.5}], "and one is {'RandomHorizontalFlip': 0.5}"),
        ([{"Resize": {}, "RandomCrop": {"padding": 1}}], "and one is {'Resize': {}, "),
        ([{}], "and one is {}"),
    ],
)
def test_what_is_no_augmentation_list_is_told_with_an_example(value, words):
    with pytest.raises(ParamsError) as refused:
        load_params(ROOT, {"augment.train": value})
    assert "  augment.train: " in str(refused.value)
    assert words in str(refused.value)
    assert "dictionary" not in str(refused.value)
