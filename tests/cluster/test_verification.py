"""Verification on a cluster: the same outputs, findings and errors as on this machine, whatever becomes of workers."""

import os
import shutil
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from formwork.cluster.executor import ClusterExecutor, cluster_executor
from formwork.datasets import near_search, verify
from formwork.datasets.link import link
from formwork.datasets.perceptual_hash import COEFFICIENTS
from formwork.datasets.verify_file import File
from formwork.errors import DatasetError
from formwork.images.manifest import SPLITS
from formwork.params import Params
from tests.dask_processes import DaskProcesses, end
from tests.make_images import make_dataset

pytestmark = pytest.mark.slow


@pytest.fixture
def raw(shared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images in many tasks, among them files that are none."""
    monkeypatch.setattr(verify, "CHUNK_FILES", 4)
    monkeypatch.setattr(verify, "LARGER", 1)
    raw = make_dataset(Path("raw"), ["a", "b"], per_class=30, size=(9, 9))
    (raw / "a/empty.png").write_bytes(b"")
    (raw / "a/no image.png").write_bytes(b"no image")
    (raw / "b/broken.png").symlink_to("nowhere")
    shutil.copy(raw / "a/000.png", raw / "b/copy.png")
    for path in raw.rglob("*"):  # what changed just now is not kept in the cache
        os.utime(path, (0, 0), follow_symlinks=False)
    return raw


def run_link(raw: Path, interim: str, cluster: str | None) -> list[bytes]:
    """The outputs of the stage."""
    data = {"name": "raw", "on_bad_image": "skip", "num_workers": 0}
    link(Params.model_validate({"data": data, "cluster": cluster}), raw, Path(interim), Path(f"{interim}.csv"))
    names = [*(f"{split}.csv" for split in SPLITS), *(f"{split}.images.json" for split in SPLITS), "dataset.json"]
    return [(Path(interim) / name).read_bytes() for name in names] + [Path(f"{interim}.csv").read_bytes()]


def test_link_writes_the_same_and_asks_for_the_cluster_only_if_there_is_work(dask: DaskProcesses, raw: Path) -> None:
    assert run_link(raw, "cluster", dask.address) == run_link(raw, "local", None)
    assert not list(Path("cluster").glob(".cluster-*"))
    assert run_link(raw, "local", "tcp://127.0.0.1:1") == run_link(raw, "local", None)  # nearly all is in the cache


def test_copies_at_sight_are_found_as_on_one_machine(
    dask: DaskProcesses, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near_search, "CLUSTER_FROM", 2)
    monkeypatch.setattr(near_search, "OF_A_TASK", 90)
    rng = np.random.default_rng(0)
    codes = rng.integers(-100, 101, (300, COEFFICIENTS), dtype=np.int8)
    codes[200:] = codes[:100] + rng.integers(-3, 4, (100, COEFFICIENTS), dtype=np.int8)
    views = np.resize([near_search.UNCROPPED, near_search.FEW_CROPS, near_search.ALL_CROPS], 300)
    with cluster_executor(dask.address, "link", Path("out")) as cluster:
        found = near_search.find_pairs(codes, views, cluster, Path("out"))
    assert len(found.first) >= 100
    assert all(map(np.array_equal, found, near_search.find_pairs(codes, views)))
    assert not list(Path("out").iterdir())


def test_a_worker_that_is_killed_in_the_middle_changes_nothing(
    dask: DaskProcesses, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, tasks, submit = dask.start_worker(), [], ClusterExecutor.submit

    def counted(self: ClusterExecutor, *arguments: Any) -> Future:
        tasks.append(arguments)
        if len(tasks) == 9:
            end(worker)
        return submit(self, *arguments)

    monkeypatch.setattr(ClusterExecutor, "submit", counted)
    assert run_link(raw, "cluster", dask.address) == run_link(raw, "local", None)
    assert len(tasks) == 16


def test_a_file_that_ends_its_processes_is_named(
    dask: DaskProcesses, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = ClusterExecutor.submit

    def deadly(self: ClusterExecutor, work: Any, files: list[File]) -> Future:
        return (
            submit(self, os.abort) if "a/no image.png" in [file.path for file in files] else submit(self, work, files)
        )

    monkeypatch.setattr(ClusterExecutor, "submit", deadly)
    with pytest.raises(DatasetError) as raised:
        run_link(raw, "cluster", dask.address)
    assert "3 processes ended in turn (tcp://127.0.0.1:" in str(raised.value)
    assert "while they verified 4 files, raw/a/028.png to raw/a/no image.png; often it is" in str(raised.value)


def test_files_that_only_this_machine_can_read_are_no_bad_files(
    dask: DaskProcesses, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that is not shared, deep in the dataset, must not make a smaller dataset of it."""
    submit = ClusterExecutor.submit

    def apart(self: ClusterExecutor, *arguments: Any) -> Future:
        (raw / "b").rename("hidden")
        future = submit(self, *arguments)
        assert future.exception(60) is None
        Path("hidden").rename(raw / "b")
        return future

    monkeypatch.setattr(ClusterExecutor, "submit", apart)
    with pytest.raises(DatasetError, match=r"^raw/b/\d+\.png can be read here, and not by a worker of the cluster: "):
        run_link(raw, "cluster", dask.address)
