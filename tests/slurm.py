"""A real SLURM on this machine: slurmctld, and a slurmd for each of two nodes that are one, on the loopback.

Needs root, and Debian's slurmctld, slurmd, slurm-client, munge and slurm-wlm-basic-plugins. Nothing outside its folder
is written, and nothing is left running.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "unshare")
START_SECONDS = 60

CONF = """
ClusterName=toy
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SlurmdTimeout=15
JobRequeue=1
KillWait=10
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1 RealMemory=1000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1 RealMemory=1000
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    """Why SLURM cannot run here, in words; None where it can."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    absent = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if absent:
        return f"SLURM is not installed: no {', '.join(absent)}"
    if os.geteuid() != 0:
        return "only root can start SLURM"
    tried = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/sys/fs/cgroup"],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"slurmd needs a mount of its own: {tried.stderr.strip()}" if tried.returncode else None


@contextmanager
def cluster(folder: Path) -> Iterator[Mapping[str, str]]:
    """SLURM with the nodes n1 and n2; gives the environment for srun, sbatch and scontrol.

    Args:
        folder: is made; the path must be short, as a socket lies in it.
    """
    folder.mkdir(parents=True)
    for name in ("state", "spool-n1", "spool-n2"):
        (folder / name).mkdir()
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        ports = [one.getsockname()[1] for one in sockets]
    host = socket.gethostname().partition(".")[0]
    (folder / "slurm.conf").write_text(CONF.format(host=host, folder=folder, ports=ports))
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    environment = {
        **os.environ,
        "SLURM_CONF": str(folder / "slurm.conf"),
        "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
    }
    own = [f"--{kind}-file={folder}/munge.{kind}" for kind in ("key", "pid", "log", "seed")]
    in_mount = "mount -t tmpfs none /sys/fs/cgroup && exec slurmd -D -N"
    commands = [
        ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *own],
        ["slurmctld", "-D", "-c"],
        *(["unshare", "--mount", "sh", "-c", f"{in_mount} {node}"] for node in ("n1", "n2")),
    ]
    processes = []
    with (folder / "output").open("wb") as output:
        try:
            for command in commands:
                processes.append(subprocess.Popen(command, env=environment, stdout=output, stderr=output))
                if command[0] == "munged":
                    _wait((folder / "munge.socket").exists, folder)
            _wait(lambda: _idle(environment) == 2, folder)
            yield environment
        finally:
            subprocess.run(["scancel", "--state=RUNNING", "--full"], env=environment, capture_output=True, check=False)
            for process in reversed(processes):
                process.terminate()
            for process in reversed(processes):
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _idle(environment: Mapping[str, str]) -> int:
    done = subprocess.run(
        ["sinfo", "-h", "-N", "-o", "%T"], env=environment, capture_output=True, text=True, check=False
    )
    return done.stdout.split().count("idle")


def _wait(ready: Callable[[], bool], folder: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while not ready():
        if time.monotonic() > end:
            logs = "\n".join(
                path.read_text(errors="replace")[-2000:] for path in [*folder.glob("*.log"), folder / "output"]
            )
            raise AssertionError(f"SLURM has not started:\n{logs}")
        time.sleep(0.2)
