"""params.yaml as it comes: it names every key, and stands in the form that DVC writes, so that `-S` changes a line."""

import difflib
import re
import shutil
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode

from formwork.params import load_params
from tests.params import FIELDS
from tests.workspace import ROOT, Workspace, write_file

pytestmark = pytest.mark.checkout
FILE = ROOT / "params.yaml"


def nodes(node: MappingNode, prefix: str = "") -> dict[str, int]:
    """Line, from 0, of each entry of a YAML mapping, by dotted key."""
    lines = {}
    for key, value in node.value:
        lines[prefix + key.value] = key.start_mark.line
        if isinstance(value, MappingNode):
            lines |= nodes(value, f"{prefix}{key.value}.")
    return lines


def test_it_names_every_param_and_says_what_it_is() -> None:
    """Beside the key or right above it; lists of operations beside `augment`, above them. The entries of datasets need
    not: what they hold may be left out."""
    text = FILE.read_text(encoding="utf-8")
    lines, line_of = text.splitlines(), nodes(YAML().compose(text))
    values = [key for key, is_section in FIELDS.items() if not is_section and not key.startswith("datasets.")]

    load_params(FILE)
    assert [key for key in values if key not in line_of] == []
    near = {key: "".join(lines[max(0, line_of[key] - 1) : line_of[key] + 1]) for key in values}
    assert [key for key in values if "#" not in near[key]] == ["augment.val"]


def test_groups_here_name_each_class_of_cifar100_once() -> None:
    groups = load_params(FILE).datasets["cifar100"].groups
    names = [name for group in groups.values() for name in group]

    assert (len(groups), len(names), len(set(names))) == (20, 100, 100)


@pytest.mark.parametrize(
    ("override", "removed", "added"),
    [
        ("train.lr=0.01", ["  lr: 0.003"], ["  lr: 0.01"]),
        ("data.name=mine", ["  name: digits"], ["  name: mine"]),
        ("data.use_ffcv=false", ["  use_ffcv: true"], ["  use_ffcv: false"]),
        ("ffcv.beton.write_mode=jpg", ["    write_mode: smart"], ["    write_mode: jpg"]),
        ("ffcv.beton.max_resolution=null", ["    max_resolution: 256"], ["    max_resolution:"]),
        ("seed=1", ["seed: 0"], ["seed: 1"]),
        ("sources.synthetic.images=10", ["    images: 2000"], ["    images: 10"]),
        ("trainer.precision=16-mixed", ["  precision: 32-true"], ["  precision: 16-mixed"]),
        ("model.loss_steps=[-1]", ["  loss_steps: all"], ["  loss_steps:", "  - -1"]),
        ("data.fetch=[]", ["  fetch:", "  - digits"], ["  fetch: []"]),
        ("data.fetch=[digits,mnist]", [], ["  - mnist"]),
        ("data.fetch=[mnist]", ["  - digits"], ["  - mnist"]),
        ("ffcv.resolution_schedule=[[1,8]]", [], ["  - - 1", "    - 8"]),
        ("augment.train=[]", ["  train:"], ["  train: []"]),
        ("augment.train=[{Resize: {}}]", [], ["  - Resize: {}"]),
        ("augment.val=[{CenterCrop: {ratio: 1.0}}]", [], ["  - CenterCrop:", "      ratio: 1.0"]),
        ("datasets.digits.resolution=16", ["    resolution: 8"], ["    resolution: 16"]),
        ("datasets.digits.mean=[0.5,0.5,0.5]", ["    mean: auto"], ["    mean:", *["    - 0.5"] * 3]),
        ("datasets.mnist.mean=auto", ["    mean:", *["    - 0.1307"] * 3], ["    mean: auto"]),
        ("+datasets.digits.groups.few=['1','2']", [], ["    groups:", "      few:", "      - '1'", "      - '2'"]),
        ("+datasets.mine.resolution=64", [], ["  mine:", "    resolution: 64"]),
    ],
)
def test_dvc_changes_the_lines_of_the_key_and_keeps_every_comment(
    tmp_path: Path, override: str, removed: list[str], added: list[str]
) -> None:
    """DVC's own writer, which `dvc exp run -S` calls."""
    copy = tmp_path / "params.yaml"
    shutil.copy(FILE, copy)

    apply_overrides(copy, [override])

    before, after = FILE.read_text(encoding="utf-8"), copy.read_text(encoding="utf-8")
    assert changes(before, after) == (removed, added)
    assert comments(before) == comments(after)
    load_params(copy)


def changes(before: str, after: str) -> tuple[list[str], list[str]]:
    """Lines that went and that came, without their comments."""
    lines = [line for line in difflib.ndiff(before.splitlines(), after.splitlines()) if line[:2] in ("- ", "+ ")]
    bare = [re.sub(r"\s+#.*", "", line[2:]) for line in lines]
    pairs = list(zip(lines, bare, strict=True))
    return [text for line, text in pairs if line[0] == "-"], [text for line, text in pairs if line[0] == "+"]


def comments(text: str) -> list[str]:
    return re.findall(r"#.*", text)


def test_an_experiment_changes_one_line(tmp_path: Path, environment: dict[str, str]) -> None:
    """With git and DVC as processes: the first -S, and one more."""
    repo = Workspace(tmp_path, environment)
    shutil.copy(FILE, repo / "params.yaml")
    write_file(repo / "dvc.yaml", "stages: {train: {cmd: echo, params: [train, trainer]}}\n")
    repo.git("init --quiet")
    repo.dvc("init --quiet")
    repo.commit("As it comes")

    repo.dvc("exp run -S train.lr=1e-2")
    assert changed(repo) == {"-  lr: 0.003", "+  lr: 0.01"}
    repo.dvc("exp run -S trainer.checkpoint_minutes=null")
    assert changed(repo) == {
        "-  lr: 0.003",
        "+  lr: 0.01",
        "-  checkpoint_minutes: 5",
        "+  checkpoint_minutes:",
    }


def changed(repo: Workspace) -> set[str]:
    diff = repo.git("diff --unified=0 params.yaml")
    return {re.sub(r"\s+#.*", "", line) for line in re.findall(r"^[-+] .*", diff, re.MULTILINE)}
