"""What is compared: read from `-S`, checked before any work."""

from pathlib import Path

import pytest

from formwork.errors import ParamsError
from formwork.tools.compare.cases import of_loaders, read_cases
from formwork.yaml import dump_yaml
from tests.workspace import default_params


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text(dump_yaml(default_params(photos={"groups": {"pets": ["cat", "dog"]}})))
    return tmp_path


def named(root: Path, *asked: str) -> list[str]:
    return [case.name for case in read_cases(asked, root)]


def test_names_tell_cases_apart(root):
    assert named(root) == ["ffcv", "pytorch"]
    assert named(root, "model.name=rcnn", "model.name=resnet18") == ["model.name=rcnn", "model.name=resnet18"]
    assert named(root, "model.name=rcnn,resnet18") == ["model.name=rcnn", "model.name=resnet18"]
    assert named(root, "train.lr=0.1") == ["params.yaml", "train.lr=0.1"]
    both = ("seed=3,train.lr=0.1", "seed=3,train.lr=0.2,model.name=rcnn")
    assert named(root, *both) == ["train.lr=0.1", "train.lr=0.2, model.name=rcnn"]


def test_a_case_has_the_params_that_an_experiment_would_have(root):
    first, second = read_cases(["model.name=rcnn,model.timesteps=3"], root)
    assert (first.params.model.name, second.params.model.timesteps) == ("small_cnn", 3)
    seeded = second.with_seed(7)
    assert (seeded.seed, seeded.settings[-1], seeded.content["seed"]) == (7, "seed=7", 7)
    assert str(seeded) == "model.name=rcnn, model.timesteps=3, seed 7"
    (fixed, _) = read_cases(["seed=5", "seed=6"], root)
    assert fixed.with_seed(7).seed == 5


def test_loaders_are_compared_only_where_nothing_else_differs(root):
    assert of_loaders(read_cases([], root))
    assert of_loaders(read_cases(["data.use_ffcv=false"], root))
    assert of_loaders(read_cases(["data.use_ffcv=true", "data.use_ffcv=false"], root))
    assert not of_loaders(read_cases(["data.use_ffcv=false,train.lr=0.1"], root))
    assert not of_loaders(read_cases(["seed=1", "seed=2"], root))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (["model.nam=rcnn"], "Did you mean 'name'?"),
        (["modle.name=rcnn"], "Did you mean 'model'?"),
        (["train.lr=fast"], "train.lr: "),
        (["train.lr=0.1", "train.lr=-1"], "params.yaml with -S train.lr=-1:"),
        (["train.lr=0.1", "train.lr=0.1"], "train.lr=0.1 and train.lr=0.1 are the same params"),
        (["seed=0"], "params.yaml and seed=0 are the same params"),
        (["data.group=pet"], "data.group"),
        (["data.name=photos"], "a comparison is of one dataset, which data.name decides"),
        (["~train.lr", "~train.lr"], "are the same params"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_the_case(root, asked, words):
    with pytest.raises(ParamsError) as refused:
        read_cases(asked, root)
    assert words in str(refused.value)
