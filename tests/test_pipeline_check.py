"""The stages try and check: what is wrong in params.yaml stops a run before DVC takes away anything."""

import re
from pathlib import Path

import pytest

from tests.tools.compare.conftest import Quick, quick, quick_base
from tests.workspace import Workspace, snapshot

__all__ = ["quick", "quick_base"]  # fixtures

OUTPUTS = ("data", "models", "results")


def outputs(repo: Workspace) -> dict[str, dict[str, str]]:
    return {folder: snapshot(repo / folder) for folder in OUTPUTS}


def test_a_wrong_setting_touches_nothing_and_is_taken_back_by_its_command(repo: Workspace) -> None:
    """Metrics, models, plots, manifests and betons stay; but those of another dataset, which DVC takes away before any
    stage, until the command brings them back."""
    before, params = outputs(repo), (repo / "params.yaml").read_text()
    for setting, said in {
        "train.lr=abc": "train.lr: input should be a valid number, and it is 'abc'",
        "+trainer.max_epoch=3": "trainer.max_epoch: unknown. Did you mean 'max_epochs'?",
        "'augment.train=[{Blurr: {}}]'": "augment.train: there is no operation 'Blurr'",
        "'~data.dtype'": "params.yaml lacks keys that stages depend on. Their defaults are\n  data.dtype: float32",
        "data.name=shape": "data.name is 'shape', and there is no folder data/raw/shape. Did you mean 'shapes'?",
        "'data.name=\"x;touch pwned\"'": "data.name: should match pattern",
    }.items():
        result = repo.dvc(f'exp run -S "{setting}"' if "'" not in setting else f"exp run -S {setting}", status=255)
        assert len(result.all_ran) == 1
        assert result.ran == []
        assert said in result.output
        if "data.name" not in setting:
            assert outputs(repo) == before
        (command,) = re.findall(r"^`(.+)` takes it back\.$", result.output, re.MULTILINE)
        repo.shell(command)
        assert (repo / "params.yaml").read_text() == params
        assert outputs(repo) == before
        assert repo.changes() == set()
    assert repo.dvc("repro").all_ran == []


def test_the_check_makes_no_other_stage_run(quick: Quick) -> None:
    result = quick.dvc("exp run -S evaluate.worst_mistakes=4")
    assert result.all_ran == ["check", "evaluate"]
    assert quick.dvc("repro").all_ran == []
    (quick / "params.yaml").write_text("# a comment\n" + (quick / "params.yaml").read_text())
    assert quick.dvc("repro").all_ran == ["check"]
    assert quick.outdated() == {}


def test_other_edits_stay_when_a_mistake_is_taken_back(quick: Quick) -> None:
    """The command gives the refused key its committed value, and runs what the other edit asks for."""
    result = quick.dvc("exp run -S evaluate.worst_mistakes=4 -S train.lr=abc -S +train.lrr=1", status=255)
    (command,) = re.findall(r"^`(.+)` takes it back, and keeps evaluate.worst_mistakes\.$", result.output, re.MULTILINE)
    assert command == "dvc exp run -S train.lr=0.003 -S '~train.lrr'"
    assert quick.shell(command).all_ran == ["try", "check", "evaluate"]
    assert quick.changes() >= {"params.yaml", "dvc.lock"}


@pytest.mark.parametrize(
    "name", ["x;touch pwned", "$(touch pwned)", "`touch pwned`", "x & touch pwned", "x|touch pwned"]
)
def test_a_name_runs_nothing_even_where_the_check_is_left_out(repo: Workspace, name: str) -> None:
    """`-s` runs one stage alone: the names in its command are quoted."""
    repo.set_params(data__name=name)
    (repo / "data/raw" / name).mkdir()
    output = repo.dvc("repro -s link", status=255).output
    assert "data.name: should match pattern" in output
    assert not list(Path(repo.path).rglob("pwned"))
