"""What is refused in params.yaml comes with the command that takes it back, and nothing else of the user's."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides

from formwork.errors import ParamsError
from formwork.params import load_params
from formwork.params.undo import undo
from tests.workspace import Workspace

COMMITTED = """# Everything
data:
  name: photos  # the dataset
  group: all
  fetch:
  - digits
  batch_size: 64
train:
  lr: 0.003
  weight_decay: 0.01
augment:
  train:
trainer:
  max_epochs: 12
datasets:
  photos:
    mean: auto
    groups:
      few:
      - '1'
      - "no"
      - Größe
      - it's
"""


@pytest.fixture
def repo(tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A git repository with params.yaml committed, in which this process stands."""
    repo = Workspace(tmp_path, environment)
    (repo / "params.yaml").write_text(COMMITTED, encoding="utf-8")
    repo.git("init --quiet")
    repo.commit("Params")
    load_params(repo.path)
    monkeypatch.chdir(repo.path)
    return repo


def refused() -> str:
    """The last line of what load_params says."""
    with pytest.raises(ParamsError) as error:
        load_params()
    return str(error.value).splitlines()[-1]


@pytest.mark.parametrize(
    "overrides",
    [
        ["train.lr=abc"],
        ["train.lr=nan"],
        ["+trainer.max_epoch=3"],
        ["trainer=null"],
        ["train.lr=abc", "data.batch_size=0", "+train.lrr=1"],
        ["+trainer.devices=2"],
        ["+lr=1"],
        ["+model.name=timn/resnet18", "+model.timesteps=0"],
        ["augment.train=[{Blur: 3}]"],
        ["datasets.photos.groups.few=[null]"],
        ["+seed=-1"],
    ],
)
def test_git_takes_back_what_is_the_only_edit(repo: Workspace, overrides: list[str]) -> None:
    apply_overrides("params.yaml", overrides)

    assert refused() == "`git checkout params.yaml` takes it back."
    repo.shell("git checkout params.yaml")
    assert (repo / "params.yaml").read_text(encoding="utf-8") == COMMITTED


@pytest.mark.parametrize("override", ["data.name=my photos", "data.name=2024_01", "data.fetch=[digit]", "data.name=''"])
def test_dvc_takes_back_what_it_took_away(repo: Workspace, override: str) -> None:
    apply_overrides("params.yaml", [override])
    assert refused() == "`git checkout params.yaml && dvc checkout` takes it back."


@pytest.mark.parametrize(
    ("edit", "mistakes"),
    [
        ("weight_decay: 0.1", ["train.lr=abc"]),
        ("weight_decay: 0.1", ["train.lr=abc", "data.batch_size=0", "data.name=my photos"]),
        ("weight_decay: 0.1", ["+trainer.max_epoch=3"]),
        ("weight_decay: 0.1", ["+lr=3", "+learning.rate=1"]),
        ("weight_decay: 0.1", ["~data.name"]),
        ("weight_decay: 0.1", ["trainer=5"]),
        ("weight_decay: 0.1", ["trainer.max_epochs={a: 1}"]),
        ("weight_decay: 0.1", ["data.fetch=[digit]"]),
        ("weight_decay: 0.1", ["augment.train=[{Blur: 3}]"]),
        ("weight_decay: 0.1", ["datasets.photos.groups.few=[null]"]),
        ("weight_decay: 0.1", ["+datasets.mine.resolution=big"]),
        ("weight_decay: 0.1  # more", ["train.lr=abc"]),
        ("weight_decay: 0.1\nmodel: {name: rcnn}", ["+model.timesteps=0"]),
    ],
)
def test_other_edits_are_kept(repo: Workspace, edit: str, mistakes: list[str]) -> None:
    """Those of values: the command sets the refused keys back, or takes them out, and leaves all else."""
    (repo / "params.yaml").write_text(COMMITTED.replace("weight_decay: 0.01", edit), encoding="utf-8")
    edited = load_params()
    apply_overrides("params.yaml", mistakes)

    found = re.fullmatch(r"`dvc exp run (.+)` takes it back, and keeps (.+)\.", refused())
    assert found
    assert "train.weight_decay" in found[2]
    program, *settings = shlex.split(found[1])
    assert program == "-S"
    apply_overrides("params.yaml", [setting for setting in settings if setting != "-S"])
    assert load_params() == edited


def test_edited_comments_are_kept(repo: Workspace) -> None:
    (repo / "params.yaml").write_text(COMMITTED.replace("# the dataset", "# mine"), encoding="utf-8")
    apply_overrides("params.yaml", ["train.lr=abc"])
    assert refused() == "`dvc exp run -S train.lr=0.003` takes it back, and keeps your comments."


def test_a_key_that_hydra_cannot_name_is_for_the_editor(repo: Workspace) -> None:
    text = COMMITTED.replace("datasets:\n", "datasets:\n  v1.0: {resolution: big}\n").replace("0.003", "0.004")
    (repo / "params.yaml").write_text(text, encoding="utf-8")
    assert refused() == (
        "`git diff HEAD params.yaml` shows what to take back; the command `git checkout params.yaml` takes back all of "
        "that."
    )


def test_a_file_that_is_no_yaml_is_for_the_editor(repo: Workspace) -> None:
    (repo / "params.yaml").write_text("data: [", encoding="utf-8")
    assert refused() == (
        "`git diff HEAD params.yaml` shows what changed since the last commit; `git checkout params.yaml` takes back "
        "all of that."
    )


def test_what_was_staged_is_taken_back_too(repo: Workspace) -> None:
    apply_overrides("params.yaml", ["train.lr=abc"])
    repo.git("add params.yaml")
    assert refused() == "`git checkout HEAD params.yaml` takes it back."
    repo.shell("git checkout HEAD params.yaml")
    load_params()


def test_nothing_is_advised_where_nothing_helps(repo: Workspace, tmp_path: Path) -> None:
    """A mistake that is committed, one of the caller's, a file outside git."""
    with pytest.raises(ParamsError) as error:
        load_params(overrides={"train.lr": "abc"})
    assert "takes" not in str(error.value)

    apply_overrides("params.yaml", ["train.lr=abc"])
    repo.commit("A mistake")
    assert "input should be a valid number" in refused()
    apply_overrides("params.yaml", ["data.batch_size=16"])
    assert "input should be a valid number" in refused()

    subprocess.run(["rm", "-r", tmp_path / ".git"], check=True)
    assert "input should be a valid number" in refused()


def test_where_the_keys_are_not_known_all_that_changed_is_named(repo: Workspace) -> None:
    apply_overrides("params.yaml", ["train.lr=0.1", "data.batch_size=16"])
    assert undo(Path("params.yaml"), ()) == (
        "`git checkout params.yaml` takes back what differs from the last commit: data.batch_size, train.lr."
    )


def test_the_workspace_of_a_queued_experiment_is_as_it_was(repo: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = repo.clone(repo / ".dvc/tmp/exps/tmp123")
    monkeypatch.chdir(copy.path)
    apply_overrides("params.yaml", ["train.lr=abc"])
    assert refused() == "The params.yaml of your workspace is as it was."


def test_a_key_that_went_with_its_comment_is_put_back_by_git(repo: Workspace) -> None:
    apply_overrides("params.yaml", ["~data.name"])
    assert refused() == "`git checkout params.yaml && dvc checkout` takes it back."
