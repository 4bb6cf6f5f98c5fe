"""The timesteps of a recurrent model as params.yaml writes them, by hand and by `-S`."""

from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides
from pydantic import ValidationError

from formwork.errors import ParamsError
from formwork.params import Model, load_params

PARAMS = "data:\n  name: digits\nmodel:\n  name: rcnn\n  timesteps: 1\n  pattern:\n  loss_steps: all\n"


def shown(**values: object) -> str:
    return "".join("1" if step else "0" for step in Model(name="rcnn", **values).shown)


@pytest.mark.parametrize(
    ("values", "steps"),
    [
        ({}, "1"),
        ({"timesteps": 3}, "111"),
        ({"pattern": "1011"}, "1011"),
        ({"pattern": 1011}, "1011"),
        ({"pattern": "1011", "timesteps": 4}, "1011"),
        ({"pattern": "0110", "blank_before": 1, "blank_after": 2}, "0011000"),
        ({"timesteps": 2, "blank_after": 1}, "110"),
        ({"blank_before": 2}, "001"),
    ],
)
def test_what_each_timestep_shows(values: dict, steps: str) -> None:
    assert shown(**values) == steps


@pytest.mark.parametrize(
    ("loss_steps", "positions"),
    [("all", (0, 1, 2, 3)), ("last", (3,)), ([3], (2,)), ([-1, 2], (1, 3)), ([-4, -1], (0, 3)), (-2, (2,)), (4, (3,))],
)
def test_the_timesteps_in_the_loss(loss_steps: object, positions: tuple[int, ...]) -> None:
    assert Model(name="rcnn", timesteps=3, blank_after=1, loss_steps=loss_steps).positions_in_loss == positions


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"pattern": "000"}, "000 never shows the image"),
        ({"pattern": 0}, "0 never shows the image"),
        ({"pattern": "12"}, r"must be a row of 1 \(the image\) and 0 \(a blank\), such as 1011, and is '12'"),
        ({"pattern": ""}, "must be a row of 1"),
        ({"pattern": "1 1"}, "must be a row of 1"),
        ({"pattern": "1\n"}, "must be a row of 1"),
        ({"pattern": "\u0661"}, "must be a row of 1"),
        ({"pattern": True}, "must be a row of 1"),
        ({"pattern": 1000.0}, "must be a row of 1"),
        ({"pattern": -11}, "must be a row of 1"),
        ({"pattern": [1, 0]}, "must be a row of 1"),
        ({"pattern": "10" * 600}, "has 1,200 steps, and at most 1,000"),
        ({"pattern": "101", "timesteps": 2}, "101 has 3 steps, and model.timesteps is 2: set that to 1, or to 3"),
        ({"blank_before": -1}, "greater than or equal to 0"),
        ({"timesteps": 10**9}, "less than or equal to 1000"),
        ({"timesteps": 3, "loss_steps": [4]}, "loss_steps has 4, and the steps are 1 to 3"),
        ({"timesteps": 3, "loss_steps": [-4]}, "loss_steps has -4"),
        ({"timesteps": 3, "loss_steps": [0]}, "loss_steps has 0"),
        ({"timesteps": 3, "loss_steps": [1, -3]}, "names a step more than once"),
        ({"timesteps": 3, "loss_steps": []}, r"must be all, last, or a list of steps"),
        ({"timesteps": 3, "loss_steps": "first"}, r"must be all, last, or a list of steps"),
        ({"timesteps": 3, "loss_steps": [True]}, r"must be all, last, or a list of steps"),
        ({"timesteps": 3, "loss_steps": [1.0]}, r"must be all, last, or a list of steps"),
        ({"blank_before": 2, "loss_steps": [1, 2]}, "end before the image is first shown, in step 3"),
        ({"name": "small_cnn", "timesteps": 2}, "2 timesteps need a recurrent model"),
        ({"name": "small_cnn", "pattern": "10"}, "2 timesteps need a recurrent model"),
        ({"name": "small_cnn", "blank_after": 4}, "5 timesteps need a recurrent model"),
        ({"name": "small_cnn", "loss_steps": [2]}, "loss_steps has 2, and the steps are 1 to 1"),
    ],
)
def test_what_cannot_be_shown_is_refused(values: dict, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Model(**{"name": "rcnn", **values})


@pytest.mark.parametrize("typed", ["1011", "0110", "'0110'", '"0110"', "01", "10"])
def test_a_pattern_given_by_dvc_keeps_each_timestep(tmp_path: Path, typed: str) -> None:
    """DVC's own parser and writer, which `dvc exp run -S` calls."""
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS)
    apply_overrides(path, [f"model.pattern={typed}", "model.loss_steps=[-1]"])
    params = load_params(path)
    assert params.model.pattern == typed.strip("'\"")
    assert Model.model_validate(params.model.model_dump()) == params.model


@pytest.mark.parametrize(("written", "number"), [("0110", "110"), ("1_01", "101"), ("+101", "101"), ("1e2", "100.0")])
def test_a_pattern_that_yaml_reads_as_another_number_is_refused(tmp_path: Path, written: str, number: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS.replace("pattern:", f"pattern: {written}  # over time"))
    said = f"model.pattern: {written} without quotes is the number {number} to DVC: write '{written}'"
    with pytest.raises(ParamsError) as refused:
        load_params(path)
    assert said in str(refused.value)
    assert refused.value.keys == ("model.pattern",)
    path.write_text(PARAMS.replace("pattern:", "pattern: '0110'"))
    assert load_params(path).model.pattern == "0110"
