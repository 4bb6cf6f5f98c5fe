"""YAML: what DVC writes is read as DVC means it, and what cannot be read is named with its line."""

import re
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize import load_yaml

from formwork.errors import ParamsError
from formwork.params import load_params
from formwork.yaml import YamlError, dump_yaml, parse_yaml, read_yaml, spellings

NAMES = r"""
on off yes no On OFF Yes nO y n true True FALSE false null Null ~ 1:30 02:00 190:20:30 007 08 0 -1 +1 1.0 1.10
2024_01_05 2024-01-05 1_000 0o17 0x1F 0b11 017 1e-3 1e3 1E3 .5 1. .inf -.inf .nan inf nan NaN = << - -- -a . ..
! * & % @ # : ? | > [] {} , ' " ` é 日本 🐱 e1 1e _ _1 1_ 0x null_ T+1 !x *a &a %a @a a:b
"""
TEXTS = [
    *NAMES.split(),
    "",
    " ",
    "a b",
    "a: b",
    "a #b",
    " a",
    "a ",
    "- a",
    "2024-01-05 10:00:00",
    "a\nb",
    "a\tb",
    "x" * 200,
]
PARTS = 6


def tree(names: list[str]) -> dict[str, Any]:
    """Params that hold names wherever there can be any."""
    group = {f"group {number}": [name] for number, name in enumerate(names)}
    return {
        "data": {"name": "digits", "group": names[0]},
        "train": {"lr": 0.003},
        "augment": {"train": [{name or "x": {"p": 1e-3, name: name}} for name in names]},
        "datasets": {"digits": {"groups": {names[0]: []}}}
        | {name: {"groups": group | {name: names}} for name in names},
    }


@pytest.mark.parametrize("part", range(PARTS))
def test_names_survive_what_dvc_writes(tmp_path: Path, part: int) -> None:
    """Class names, names of groups and of datasets, and texts in arguments, whatever they look like to other dialects;
    any -S of another key leaves them what they are, and one more, too."""
    file = tmp_path / "params.yaml"
    names = TEXTS[part::PARTS]
    file.write_text(dump_yaml(tree(names)), encoding="utf-8")
    before = load_params(file)

    for lr in ("1e-2", "1e-5"):
        apply_overrides(file, [f"train.lr={lr}"])
        after = load_params(file)
        assert after.train.lr == float(lr)
        assert after.model_copy(update={"train": before.train}) == before
    assert list(after.datasets) == ["digits", *names]
    assert all(after.datasets[name].groups[name] == names for name in names)


@pytest.mark.parametrize(
    "text",
    [
        *["on", "off", "yes", "no", "y", "1:30", "190:20:30", "0o8", "1e", "null_", "_1", "inf"],
        *["true", "False", "NULL", "~", "", "1", "007", "0777", "+1", "2024_01_05", "1_000", "0o17", "0x1F", "0b11"],
        *["1e-3", "1e3", "1E-3", "+1e3", ".5", "1.", "1.e3", "4e-1", ".inf", "-.inf", "100000000000000000000"],
        *["'on'", '"1e-3"', "'007'", "[a, 1e-3]", "{a: no}", "!!str 1", "|\n  x\n  y", "a: b\n  c: 1:30"],
    ],
)
def test_values_are_those_that_dvc_reads(tmp_path: Path, text: str) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(f"seed: 0\nkey:\n  {text}\n", encoding="utf-8")

    ours = read_yaml(file)
    assert repr(ours) == repr(load_yaml(file))
    apply_overrides(file, ["seed=1"])
    assert repr(read_yaml(file)) == repr(ours | {"seed": 1})


@pytest.mark.parametrize("number", ["1e-3", "1E-3", "1.0e-3", ".001", "0.001", "+1e-3", "0.1e-2", "'1e-3'"])
def test_numbers_are_numbers_in_every_key(tmp_path: Path, number: str) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(
        f"data: {{name: digits, split: {{val: {number}}}}}\n"
        f"trainer: {{checkpoint_minutes: {number}}}\n"
        f"datasets: {{digits: {{mean: [{number}, {number}, 1], std: [{number}, 1, 1]}}}}\n"
    )
    params = load_params(file)
    assert params.data.split.val == params.trainer.checkpoint_minutes == params.dataset.mean[0] == 0.001


def test_numbers_are_numbers_in_the_arguments_of_operations(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("data: {name: digits}\naugment: {train: [{RandomErasing: {scale: [2e-2, 1e3], p: 4e-1}}]}\n")

    assert load_params(file).augment.train == [{"RandomErasing": {"scale": [0.02, 1000.0], "p": 0.4}}]
    apply_overrides(file, ["augment.train=[{RandomErasing: {scale: [2e-2, 33e-2]}}]"])
    assert load_params(file).augment.train == [{"RandomErasing": {"scale": [0.02, 0.33]}}]


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train.lr", "{}"),
        ("trainer.checkpoint_minutes", "{}"),
        ("data.batch_size", "{}"),
        ("augment.val", "[{{Blur: {{sigma: [1, {}]}}}}]"),
        ("+datasets.digits.mean", "[0,{},0]"),
        ("+datasets.digits.augment.train", "[{{Blur: {{a: {{b: {}}}}}}}]"),
    ],
)
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, key: str, value: str, number: str) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(
        "data: {name: digits, batch_size: 1}\ntrain: {lr: 1}\ntrainer: {checkpoint_minutes: 1}\naugment: {val: null}\n"
    )
    apply_overrides(file, [f"{key}={value.format(number)}"])

    with pytest.raises(ParamsError) as error:
        load_params(file)

    (line,) = str(error.value).splitlines()[1:]
    assert line.startswith(f"  {key.removeprefix('+')}: ")
    assert "finite" in line or "valid integer" in line


def test_what_editors_and_people_write_is_read() -> None:
    read = {
        b"\xef\xbb\xbfa: 1\r\nb: 2\r\n": {"a": 1, "b": 2},
        b"a: &x {k: 1}\nb:\n  <<: *x\n  c: 2\n": {"a": {"k": 1}, "b": {"k": 1, "c": 2}},
        b"a: &x [1]\nb: *x\n": {"a": [1], "b": [1]},
        b"--- # one\na: 1\n...\n": {"a": 1},
        b"%YAML 1.1\n---\na: no\n": {"a": False},  # who says so means it, and so does DVC
        b"": None,
        b"# nothing\n": None,
    }
    assert {content: parse_yaml(content, "x.yaml") for content in read} == read


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: 1\nb: [1\nc: 2", "line 3, is no valid YAML: expected ',' or ']', but got ':'."),
        (b"a: 1\na: 2", "line 2, is no valid YAML: found duplicate key"),
        (b"a:\n\tb: 1", r"line 2, is no valid YAML: found character '\t' that cannot start any token."),
        (b"a: 1\n---\nb: 2\n", "line 2, is no valid YAML: expected a single document in the stream, but found another"),
        (b"a: 1\nb: gr\xf6\xdfe", "line 2, is no valid YAML: it is not in UTF-8. Save the file as UTF-8."),
        ("a: 1".encode("utf-16"), "line 1, is no valid YAML: it is not in UTF-8. Save the file as UTF-8."),
        (b"a: 1\nb: \x00", "line 2, is no valid YAML: it holds the byte 0x00."),
        (b"a: 1\nb: *c", "line 2, is no valid YAML: found undefined alias 'c'."),
        (b"a: 1\nb: !!python/object:os.system x", "line 2, is no valid YAML: could not determine a constructor"),
        (b"a: 1\n2024_01_05: 2", "line 2: the key 2024_01_05 is no text, but of type int: put it in quotes."),
        (b"a: 1\n~: 2", "line 2: the key ~ is no text, but of type null: put it in quotes."),
        (b"a: {true: 1}", "line 1: the key true is no text, but of type bool: put it in quotes."),
        (b"[1]: 2", "line 1: the key that begins here is no text, but of type seq: put it in quotes."),
        (b"a:\n- 2024-01-05\n", "line 2: DVC cannot use 2024-01-05 without quotes: write '2024-01-05'."),
        (b"a:\n- =\n", "line 2: DVC cannot use = without quotes: write '='."),
        (b"a:\n- <<\n", "line 2: DVC cannot use << without quotes: write '<<'."),
        (b"a: &b [*b]", "line 1: this holds itself, through an anchor."),
        (b"a: !!int one", "line 1: one is no int."),
        (b"a: " + b"9" * 5000, f"line 1: {'9' * 40} is no int."),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "params.yaml"
    file.write_bytes(content)

    with pytest.raises(ParamsError) as error:
        load_params(file)

    said = str(error.value)
    assert said.startswith(f"{file}, {message}")
    assert "\n" not in said


def test_what_is_nested_without_end_is_refused() -> None:
    with pytest.raises(YamlError, match=r"x\.yaml cannot be read: it is nested too deeply\."):
        parse_yaml(b"[" * 500, "x.yaml")


def test_a_value_in_one_line() -> None:
    values = {
        "null": None,
        "0.003": 0.003,
        "auto": "auto",
        "true": True,
        "[]": [],
        "{b: [1, 2], a: no}": {"b": [1, 2], "a": "no"},
    }
    assert {dump_yaml(value, one_line=True) for value in values.values()} == set(values)


def test_the_spelling_that_was_meant_is_found() -> None:
    names = ["photos", "2024_01_05", "007", "7", "true", "no", "1.0", "2024-01-05"]
    assert spellings(20240105, names) == ["2024_01_05"]
    assert spellings(7, names) == ["007", "7"]
    assert spellings(True, names) == ["true"]
    assert spellings(1.0, names) == ["1.0"]
    assert spellings(1, names) == []


@pytest.mark.parametrize("key", ["data.name", "data.group"])
@pytest.mark.parametrize("name", ["2024_01_05", "100", "1_0", "1e3", "1.0", "true", "True", "null", "nan", "inf"])
def test_what_dvc_takes_apart_is_told_how_to_type(tmp_path: Path, key: str, name: str) -> None:
    """The command in the message works: it gives the name of the folder, or of the group, that is there."""
    file = tmp_path / "params.yaml"
    (tmp_path / "data/raw" / name).mkdir(parents=True)
    (tmp_path / "data/raw/photos").mkdir()
    params = {"data": {"name": "photos", "group": "all"}, "datasets": {"photos": {"groups": {"few": [], name: []}}}}
    file.write_text(dump_yaml(params))
    apply_overrides(file, [f"{key}={name}"])

    with pytest.raises(ParamsError) as error:
        load_params(file)

    section, option = key.split(".")
    assert f"  {key}: input should be a valid string, and it is " in str(error.value)
    assert f". In quotes it is text: '{name}'; in a command, -S '{key}=\"{name}\"'" in str(error.value)
    (typed,) = re.findall(r"-S '(.*)'$", str(error.value))
    apply_overrides(file, [typed])
    assert getattr(getattr(load_params(file), section), option) == name


@pytest.mark.parametrize("value", ["no", "on", "1:30", "007", "0x1F", "~", ".nan"])
def test_what_dvc_leaves_alone_is_taken_as_it_is_typed(tmp_path: Path, value: str) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(dump_yaml({"data": {"name": "p", "group": "all"}, "datasets": {"p": {"groups": {value: []}}}}))
    apply_overrides(file, [f"data.group='{value}'" if value == "~" else f"data.group={value}"])
    assert load_params(file).data.group == value


@pytest.mark.parametrize("member", ["null", "true", "1.5"])
def test_a_class_that_is_no_text_is_told_to_be_put_in_quotes(tmp_path: Path, member: str) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(f"data: {{name: photos}}\ndatasets: {{photos: {{groups: {{few: [a, {member}]}}}}}}\n")
    with pytest.raises(ParamsError, match=rf"datasets\.photos\.groups: .*\. In quotes it is text: '{member}'$"):
        load_params(file)
