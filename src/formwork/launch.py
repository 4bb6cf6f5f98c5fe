"""Several processes that torchrun or srun starts, on one node or more: which of them this one is, and how a stage that
DVC starts as a single process starts itself on every node."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from formwork import signals
from formwork.errors import FormworkError, ParamsError

LAUNCHER = "FORMWORK_LAUNCHER"  # environment variable: a command that starts what follows it on every node
PAGE = "docs/several-nodes.md has the commands"

RANKS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
TORCHRUN = (*RANKS, "MASTER_ADDR", "MASTER_PORT")
"""Variables that torchrun sets; anybody may who starts processes by other means."""

SRUN = ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS", "SLURM_NNODES")
OF_STEP = {"SLURM_NTASKS": "SLURM_STEP_NUM_TASKS", "SLURM_NNODES": "SLURM_STEP_NUM_NODES"}
"""Variables that srun sets; where those of the job are others, its own numbers have names of their own."""


@dataclass(frozen=True)
class Process:
    """One of the processes that a launcher started.

    Attributes:
        launcher: torchrun or srun.
        rank, world_size: among all processes. local_rank, per_node: among those of its node; all nodes have as many.
        address, port: where the process of rank 0, or its launcher, is reached.
    """

    launcher: str
    rank: int
    world_size: int
    local_rank: int
    per_node: int
    address: str
    port: int

    @property
    def nodes(self) -> int:
        return self.world_size // self.per_node

    @property
    def node(self) -> int:
        return self.rank // self.per_node


def this_process(variables: Mapping[str, str] = os.environ) -> Process | None:
    """Which process this is; None where it was started alone, or by another one of the training, with which it ends.

    Raises:
        FormworkError: the variables contradict each other, or some are missing.
    """
    if signals.LEADER in variables:
        signals.end_with_parent(signal.SIGKILL)
        if signals.led():  # still, now that its end would be told
            return None
    if any(name in variables for name in RANKS):
        return _checked(_of_torchrun(variables))
    if "SLURM_PROCID" in variables and not _is_batch_script(variables):
        process = _checked(_of_srun(variables))
        return process if process.world_size > 1 else None  # a single task starts others by itself
    return None


def check(process: Process | None, num_nodes: int, devices: int | None) -> None:
    """Refuse another number of processes than params.yaml asks for.

    Args:
        devices: processes on a node; None: not known yet.

    Raises:
        ParamsError: the numbers differ.
    """
    if process is None:
        if num_nodes > 1:
            raise ParamsError(
                f"trainer.num_nodes is {num_nodes}, and this process was started alone. Set {LAUNCHER} to a command "
                f"that starts processes on all nodes, such as srun or torchrun ({PAGE}), or trainer.num_nodes: 1."
            )
        return
    if (num_nodes, devices or process.per_node) != (process.nodes, process.per_node):
        has = f"trainer.num_nodes {num_nodes}" + (f" x trainer.devices {devices}" if devices else "")
        raise ParamsError(
            f"{process.launcher} started {process.world_size} processes, {process.per_node} on each of "
            f"{process.nodes} nodes, and params.yaml has {has}. Set trainer.num_nodes: {process.nodes} and "
            f"trainer.devices: {process.per_node}, or start as many as it has ({PAGE})."
        )


def start_on_all_nodes(launcher: str) -> NoReturn:
    """Run this command again, behind that of FORMWORK_LAUNCHER, and exit with its status.

    A signal is passed on as one that the launcher passes on to what it started: to torchrun as SIGTERM, by which srun
    would kill its tasks; to srun as SIGUSR1, by which torchrun would end alone. A second signal is SIGTERM for both.
    """
    try:
        words = shlex.split(launcher)
    except ValueError as error:
        raise FormworkError(f"{LAUNCHER} is no command: {error}: {launcher}") from error
    names = {Path(word).name for word in words}
    if names & {"torchrun", "torch.distributed.run"}:
        words.append("--no-python")  # what follows begins with one
    first = signal.SIGUSR1 if "srun" in names and "torchrun" not in names else signal.SIGTERM
    environment = {name: value for name, value in os.environ.items() if name != LAUNCHER}
    command = [*words, sys.executable, *sys.argv]
    try:
        # In a session of its own: srun takes the Ctrl-C of a terminal for a question.
        process = subprocess.Popen(command, env=environment, start_new_session=True)
    except OSError as error:
        raise FormworkError(f"{LAUNCHER}: {words[0]} cannot be started: {error.strerror}.") from error
    received: list[int] = []

    def pass_on(number: int) -> None:
        process.send_signal(signal.SIGTERM if received else first)
        received.append(number)

    with signals.watched(pass_on):
        status = process.wait()
    if received:
        signals.end(signals.Interrupted(received[0], ""))  # the process of rank 0 has said what there is to say
    sys.exit(status if status >= 0 else 128 - status)


def _is_batch_script(variables: Mapping[str, str]) -> bool:
    """Whether sbatch started this process, and not srun: a batch script has the numbers of a task, too."""
    return variables.get("ENVIRONMENT") == "BATCH" and "SLURM_STEP_ID" not in variables


def _of_torchrun(variables: Mapping[str, str]) -> Process:
    _need(variables, TORCHRUN, "torchrun")
    launcher = "torchrun" if "TORCHELASTIC_RUN_ID" in variables else "The launcher"
    rank, world_size, local_rank, per_node = (_number(variables, name) for name in RANKS)
    address, port = variables["MASTER_ADDR"], _number(variables, "MASTER_PORT")
    return Process(launcher, rank, world_size, local_rank, per_node, address, port)


def _of_srun(variables: Mapping[str, str]) -> Process:
    names = [OF_STEP[name] if OF_STEP.get(name, "") in variables else name for name in SRUN]
    _need(variables, names, "srun")
    rank, local_rank, tasks, nodes = (_number(variables, name) for name in names)
    if nodes < 1 or tasks % nodes:
        raise FormworkError(
            f"srun started {tasks} tasks on {nodes} nodes, and every node needs as many: --ntasks-per-node ({PAGE})."
        )
    address, port = variables.get("MASTER_ADDR"), variables.get("MASTER_PORT")
    if not address:
        hosts = variables.get("SLURM_STEP_NODELIST") or variables.get("SLURM_JOB_NODELIST")
        _need({"MASTER_ADDR": hosts or ""}, ["MASTER_ADDR"], "srun")
        address = first_host(hosts or "")
    number = _number(variables, "MASTER_PORT") if port else 15000 + _number(variables, "SLURM_JOB_ID", 0) % 15000
    return Process("srun", rank, tasks, local_rank, tasks // nodes, address, number)


def first_host(hosts: str) -> str:
    """The first of a list of hosts in SLURM's form: a[03-07,9],b is a03."""
    return re.sub(r"\[([^],-]*)[^]]*\]", r"\1", re.split(r",(?![^[]*\])", hosts)[0])


def _need(variables: Mapping[str, str], names: tuple[str, ...] | list[str], launcher: str) -> None:
    if missing := [name for name in names if not variables.get(name)]:
        present = [name for name in names if variables.get(name)]
        there = f"{', '.join(present)} in the environment, and not" if present else "in the environment no"
        raise FormworkError(
            f"There is {there} {', '.join(missing)}: {launcher} sets all of them. Start all processes by it ({PAGE}), "
            f"or unset the others to start one alone."
        )


def _number(variables: Mapping[str, str], name: str, default: int | None = None) -> int:
    value = variables.get(name, "" if default is None else str(default))
    if not re.fullmatch("[0-9]{1,9}", value):
        raise FormworkError(f"{name} in the environment is {value!r}, and must be a number.")
    return int(value)


def _checked(process: Process) -> Process:
    """Raises FormworkError: the numbers contradict each other."""
    p = process
    fits = (
        p.rank < p.world_size
        and p.local_rank < p.per_node
        and p.world_size % max(p.per_node, 1) == 0
        and p.rank % max(p.per_node, 1) == p.local_rank
        and 0 < p.port < 2**16
    )
    if not fits:
        raise FormworkError(
            f"The environment contradicts itself: rank {p.rank} of {p.world_size}, of its node {p.local_rank} of "
            f"{p.per_node}, port {p.port}. Every node needs as many processes, in the order of their ranks ({PAGE})."
        )
    return process
