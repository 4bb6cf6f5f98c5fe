"""Clusters that Dask starts for a stage: by a real SSH server, and by a real SLURM where that can run."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from formwork.cluster.executor import cluster_executor
from formwork.errors import ClusterError
from formwork.params import Params
from tests import slurm
from tests.processes import TIMEOUT, left, wait_for
from tests.sshd import ssh_server

pytestmark = pytest.mark.slow

SSH_CONFIG = """
Host node1 node2
    HostName 127.0.0.1
    Port {port}
    User {user}
    IdentityFile {key}
"""


def params(cluster: object) -> Params:
    return Params.model_validate({"data": {"name": "some"}, "cluster": cluster})


def test_ssh_starts_a_worker_on_each_host_and_ends_them(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ssh_server(tmp_path) as server:
        user, _, port = server.url.removeprefix("ssh://").replace("@", ":").split(":")
        (tmp_path / ".ssh").mkdir()
        (tmp_path / ".ssh/config").write_text(SSH_CONFIG.format(port=port, user=user, key=server.key))
        host_key = (tmp_path / "host_key.pub").read_text()
        (tmp_path / ".ssh/known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}")
        monkeypatch.setenv("HOME", str(tmp_path))
        with cluster_executor(params({"ssh": ["node1", "node2"]}).cluster, "link", Path("out")) as pool:
            assert pool is not None
            assert pool.submit(os.getcwd).result() == str(shared)
            workers: set[int] = set()
            assert wait_for(lambda: workers.add(pool.submit(os.getppid).result()) or len(workers) == 2)
        assert not left(sorted(workers))
        with cluster_executor(params({"ssh": ["node3"]}).cluster, "link", Path("out")) as pool:
            assert pool is not None
            with pytest.raises(ClusterError, match=r"^No workers can be started on the SSH hosts node3: "):
                pool.submit(os.getcwd)


@pytest.fixture
def slurm_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if reason := slurm.missing():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    try:
        with slurm.cluster(folder / "s") as environment:
            for name in ("SLURM_CONF", "PATH"):
                monkeypatch.setenv(name, environment[name])
            yield
    finally:
        shutil.rmtree(folder)


def jobs() -> list[str]:
    return subprocess.run(["squeue", "-h"], capture_output=True, text=True, check=True).stdout.splitlines()


def test_slurm_runs_workers_as_jobs_and_replaces_a_killed_one(slurm_environment: None, shared: Path) -> None:
    refused_by_slurm("invalid partition specified: none", cores=1, memory="800MB", interface="lo", queue="none")
    options = {"workers": 2, "cores": 1, "memory": "800MB", "interface": "lo", "job_extra_directives": ["-p all"]}
    with cluster_executor(params({"slurm": options}).cluster, "link", Path("out")) as pool:
        assert pool is not None
        first = pool.submit(os.getppid).result()
        waiting = [pool.submit(time.sleep, 0.3) for _ in range(10)]
        nanny = psutil.Process(first).parent()
        assert nanny is not None
        nanny.kill()  # as when its node fails
        assert [future.result(TIMEOUT) for future in waiting] == [None] * 10
        assert wait_for(lambda: len(jobs()) == 2)
    assert wait_for(lambda: not jobs())
    assert list(Path(".dvc/tmp/cluster").glob("*.err"))


def refused_by_slurm(message: str, **options: object) -> None:
    with cluster_executor(params({"slurm": {"workers": 1, **options}}).cluster, "link", Path("out")) as pool:
        assert pool is not None
        with pytest.raises(ClusterError, match=message):
            pool.submit(os.getcwd)


def test_options_that_slurm_does_not_know_are_refused(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = refused_by_slurm
    refused(r"^cluster\.slurm\.que in params\.yaml is no option of SLURMCluster\. Did you mean 'queue'\?", que="all")
    refused(r"^cluster\.slurm in params\.yaml cannot be used: You must specify how much cores and memory")
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    job = {"cores": 1, "memory": "1GB", "interface": "lo"}
    refused(r"^No workers can be started on SLURM: .*No such file or directory: 'sbatch'", **job)
