"""Experiments: `dvc exp run` in the workspace, in a temporary folder and from the queue."""

import csv
import io
import json
import re
from collections.abc import Iterator

import pytest

from tests.processes import left
from tests.workspace import Workspace

LARGEST = 100_000  # bytes; any file that git holds is smaller


def assert_small_and_without_data(files: dict[str, int]) -> None:
    """The commit of an experiment holds no data and no model."""
    assert {path for path in files if path.startswith("data/")} == {
        "data/dvc.yaml",
        "data/raw/shapes.dvc",
        "data/splits/README.md",
    }
    assert [path for path in files if path.startswith("models/")] == ["models/weights/README.md"]
    assert max(files.values()) < LARGEST


def test_the_pytorch_loader_as_an_experiment(repo: Workspace):
    """`dvc exp run -S data.use_ffcv=false` only trains and evaluates, says in its metrics which loader it used, and
    stands beside the FFCV run in `dvc exp show`. In the workspace it leaves its params and results."""
    assert repo.dvc("exp run --name slow -S data.use_ffcv=false").ran == ["train", "evaluate"]
    for stage in ("train", "speed", "evaluate"):
        assert json.loads((repo / f"results/{stage}/metrics.json").read_text())["loader"] == "pytorch"
    changed = {path for path in repo.changes() if not path.startswith("results/")}
    assert changed == {"params.yaml", "dvc.lock"}
    assert_small_and_without_data(repo.experiment_files("slow"))

    rows = list(csv.DictReader(io.StringIO(repo.dvc("exp show --csv").output)))
    loaders = {row["Experiment"] or row["rev"]: loader(row) for row in rows}
    assert loaders == {"workspace": "pytorch", "main": "ffcv", "slow": "pytorch"}
    table = repo.dvc("exp show --only-changed --md").output
    assert re.search(r"\| main .*\bffcv\b", table)
    assert re.search(r"\[slow\] .*\bpytorch\b", table)


def loader(row: dict[str, str]) -> str:
    (name,) = {value for column, value in row.items() if column.endswith(":loader")}
    return name


def test_an_experiment_in_a_temporary_folder_leaves_the_workspace_alone(repo: Workspace):
    """`dvc exp run --temp` trains on a checkout of its own."""
    result = repo.dvc("exp run --temp --name aside -S data.use_ffcv=false -S train.lr=0.01 train")
    assert result.ran == ["train"]
    assert repo.changes() == set()
    assert repo.outdated() == {}
    assert_small_and_without_data(repo.experiment_files("aside"))


@pytest.fixture
def queue(repo: Workspace) -> Iterator[Workspace]:
    """`repo`; the workers that its queue has started are gone in the end."""
    yield repo
    pids = [int(path.read_text()) for path in (repo / ".dvc/tmp/exps/celery").glob("dvc-exp-worker-*.pid")]
    repo.dvc("queue stop --kill")
    workers = left(pids)
    for worker in workers:
        worker.kill()
    assert workers == []


def test_queued_experiments_leave_the_workspace_alone(queue: Workspace):
    """`dvc exp run --queue`, then `dvc queue start` and `dvc exp run --run-all`, which waits for the last of them.
    Values with a comma are a grid: an experiment each."""
    queue.dvc("exp run --queue --name grid -S data.split.val=0.3,0.4 link")
    queue.dvc("queue start")
    queue.dvc("exp run --run-all")
    assert queue.changes() == set()
    assert queue.outdated() == {}
    for name in ("grid-1", "grid-2"):
        assert_small_and_without_data(queue.experiment_files(name))
