"""Settings as people write them, read by DVC's own rules."""

import pytest

from formwork.errors import ParamsError
from formwork.tools.experiments.settings import apply_settings, expand, keys_of, split_settings, with_new_keys


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("a=1", ["a=1"]),
        ("model.name=resnet18,train.lr=0.1", ["model.name=resnet18", "train.lr=0.1"]),
        ("a=1, b=2", ["a=1", "b=2"]),
        ("a=1,2", ["a=1,2"]),
        ("a=[1,2],b={c: 1, d: 2}", ["a=[1,2]", "b={c: 1, d: 2}"]),
        ("a='x,b=1',c=2", ["a='x,b=1'", "c=2"]),
        ("augment.train=[{Resize: {}},{Crop: {padding: 1}}],+x.y=1,~z=1", None),
        ("a=1,b", ["a=1,b"]),
    ],
)
def test_commas_stand_between_settings_and_within_values(text, settings):
    wanted = settings or ["augment.train=[{Resize: {}},{Crop: {padding: 1}}]", "+x.y=1", "~z=1"]
    assert split_settings(text) == wanted


def test_several_values_of_a_key_are_several_cases():
    assert expand(["a=1,2", "b=x"]) == [["a=1", "b=x"], ["a=2", "b=x"]]
    assert expand(["a=[1,2]"]) == [["a=[1,2]"]]


@pytest.mark.parametrize("setting", ["a", "=3", "a==3", "a=[1", "", "a.b"])
def test_what_is_no_setting_is_refused_by_its_words(setting):
    with pytest.raises(ParamsError, match="-S "):
        expand([setting])


def test_values_are_those_that_dvc_would_write_and_the_file_stays(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("a:\n  b: 1\n  c:\n    d: 1\nlist:\n- 1\n")
    before = path.read_bytes()
    settings = with_new_keys(
        ["a.b=1e-3", "a.c={e: 2}", "list=[2,3]", "a.new=null"], {"a": {"b": 1, "c": {}}, "list": []}
    )
    assert settings[-1] == "+a.new=null"
    assert apply_settings(path, settings) == {"a": {"b": 0.001, "c": {"d": 1, "e": 2}, "new": None}, "list": [2, 3]}
    assert path.read_bytes() == before
    assert keys_of(settings) == ["a.b", "a.c", "list", "a.new"]
