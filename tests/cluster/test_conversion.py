"""Parts of a beton are written by the workers of a cluster: the same files, whatever becomes of workers."""

import os
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from formwork.cluster.executor import ClusterExecutor, cluster_executor
from formwork.conversion.write import write_beton
from formwork.errors import BetonError
from formwork.images.containers import sample_files
from formwork.images.manifest import Manifest
from formwork.params import BetonParams
from tests.dask_processes import DaskProcesses, end
from tests.make_images import make_dataset, make_manifest
from tests.workspace import snapshot

pytestmark = pytest.mark.slow

PARAMS = BetonParams(write_mode="raw", part_mb=0.01)
RAW = Path("raw")


@pytest.fixture
def manifest(shared: Path) -> Manifest:
    make_dataset(RAW, ["a", "b"], per_class=80, size=(12, 12))
    return make_manifest(RAW, Path("interim/train.csv"))


def convert(manifest: Manifest, path: str, address: str | None) -> dict[str, str]:
    """Digests of what convert writes, by name."""
    seen = sample_files(RAW, manifest.paths)
    with cluster_executor(address, "convert", Path("out"), seen, whole_workers=True) as cluster:
        write_beton(manifest, RAW, Path(path), PARAMS, 2, cluster=cluster)
    return snapshot(Path(path))


def test_the_parts_are_those_that_one_machine_writes(dask: DaskProcesses, manifest: Manifest) -> None:
    local = convert(manifest, "local.beton", None)
    assert len(local) > 5
    assert convert(manifest, "cluster.beton", dask.address) == local


def test_a_worker_that_is_killed_while_it_writes_changes_nothing(
    dask: DaskProcesses, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, submit, submitted = dask.start_worker(threads=3), ClusterExecutor.submit, []

    def watched(self: ClusterExecutor, *arguments: Any) -> Future:
        submitted.append(submit(self, *arguments))
        if len(submitted) == 6:
            submitted[0].result()
            end(worker)
        return submitted[-1]

    monkeypatch.setattr(ClusterExecutor, "submit", watched)
    assert convert(manifest, "cluster.beton", dask.address) == convert(manifest, "local.beton", None)


def test_a_part_that_ends_its_processes_leaves_nothing_and_names_its_images(
    dask: DaskProcesses, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = ClusterExecutor.submit
    monkeypatch.setattr(ClusterExecutor, "submit", lambda self, work, job: submit(self, os.abort))
    with pytest.raises(BetonError, match=r"3 processes ended in turn \(.*\) while they stored \d+ images: raw/[ab]/\d"):
        convert(manifest, "new/cluster.beton", dask.address)
    assert not list(Path("new").iterdir())


def test_an_image_that_has_changed_is_the_error_that_it_is_on_one_machine(
    dask: DaskProcesses, manifest: Manifest
) -> None:
    changed = RAW / "b/007.png"
    changed.write_bytes(changed.read_bytes() + b"more")
    messages = []
    for address in (None, dask.address):
        with pytest.raises(BetonError, match=r"^raw/b/007\.png changed after its manifest was made") as raised:
            convert(manifest, "new/some.beton", address)
        messages.append(str(raised.value))
    assert len(set(messages)) == 1
    assert not list(Path("new").iterdir())
