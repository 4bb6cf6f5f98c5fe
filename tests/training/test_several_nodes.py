"""Several nodes train the model of one node; what does not fit together is one message, and what ends one ends all."""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from formwork.conversion.write import write_beton
from formwork.images.manifest import read_manifest
from formwork.launch import LAUNCHER
from formwork.loading import ffcv_loader
from formwork.meeting import WAIT
from formwork.params import BetonParams
from formwork.training import fit
from formwork.training.module import ImageModule
from formwork.yaml import dump_yaml
from tests.processes import TIMEOUT
from tests.slurm import cluster, missing
from tests.training.conftest import folders_of, merged
from tests.training.forked import Hook, finish, start
from tests.training.test_signals import do_in, kill_in
from tests.workspace import snapshot

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TRAIN = ROOT / "src/train.py"
PAGE = ROOT / "docs/several-nodes.md"
FOLDERS = [f"data/{kind}/colours" for kind in ("raw", "interim", "processed")]
COMMAND = [str(TRAIN), *FOLDERS, "models/best.pt", "train", "speed"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
NODES = {"max_epochs": 3, "num_nodes": 2}
DISTRIBUTED = {"ffcv": {"distributed": True}}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def environment(rank: int, port: int, **more: object) -> dict[str, str]:
    """Of one of two nodes with a process each."""
    own = {"RANK": rank, "WORLD_SIZE": 2, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1}
    return {
        name: str(value) for name, value in {**own, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, **more}.items()
    }


def train_on(
    *nodes: Path, hooks: dict[int, Hook] | None = None, sections: dict[int, dict] | None = None, **more: object
) -> list[tuple[int, str]]:
    """Train on nodes with these folders, each a copy of this process; gives status and output of each.

    Args:
        hooks: by rank, see forked.start. sections: by rank, other params than the usual ones.
        more: environment variables of all.
    """
    port = free_port()

    def hook(rank: int) -> Hook:
        def change() -> None:
            os.environ.update(environment(rank, port, **more))
            (hooks or {}).get(rank, lambda: None)()

        return change

    started = []
    for rank, folder in enumerate(nodes):
        own = {"trainer": NODES, **DISTRIBUTED, **(sections or {}).get(rank, {})}
        started.append(start(folder, hook(rank), **own))
    return [finish(*process) for process in started]


@pytest.fixture
def nodes(project: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The folders of two nodes, each with data of its own."""
    return copies(project, tmp_path)


def copies(project: Path, folder: Path) -> tuple[Path, Path]:
    first, second = (shutil.copytree(project, folder / name, symlinks=True) for name in ("first", "second"))
    return first, second


@pytest.fixture(scope="module")
def one_node(project: Path, tmp_path_factory) -> bytes:
    """The model of a node with two processes."""
    folder = shutil.copytree(project, tmp_path_factory.mktemp("one") / "node", symlinks=True)
    trainer = {"max_epochs": 3, "devices": 2, "accelerator": "cpu"}
    (folder / "params.yaml").write_text(dump_yaml(merged(trainer=trainer, **DISTRIBUTED)))
    subprocess.run([sys.executable, *COMMAND], cwd=folder, check=True, timeout=TIMEOUT, stdout=subprocess.DEVNULL)
    return (folder / "models/best.pt").read_bytes()


def test_two_nodes_by_torchrun_train_the_model_of_one(nodes, one_node):
    """The first as DVC starts it, by FORMWORK_LAUNCHER; the second has a data/processed of its own."""
    for folder in nodes:
        params = merged(trainer={**NODES, "accelerator": "cpu"}, **DISTRIBUTED)
        (folder / "params.yaml").write_text(dump_yaml(params))
    before = snapshot(nodes[1])
    torchrun = [*TORCHRUN, "--master-addr=127.0.0.1", f"--master-port={free_port()}"]
    commands = [
        ([sys.executable, *COMMAND], {LAUNCHER: " ".join([*torchrun, "--node-rank=0"])}),
        ([*torchrun, "--node-rank=1", *COMMAND], {}),
    ]
    processes = [
        subprocess.Popen(
            command, cwd=folder, env={**os.environ, **more}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for folder, (command, more) in zip(nodes, commands, strict=True)
    ]
    outputs = [process.communicate(timeout=TIMEOUT)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert "Epoch 3/3" in outputs[0]
    assert _ours(outputs[1]) == ""
    assert (nodes[0] / "models/best.pt").read_bytes() == one_node
    assert snapshot(nodes[1]) == before, "only the first process writes"


def test_nodes_that_share_a_folder(nodes, one_node):
    first, second = train_on(nodes[0], nodes[0])
    assert (first[0], second) == (0, (0, ""))
    assert (nodes[0] / "models/best.pt").read_bytes() == one_node


@pytest.mark.parametrize("ranks", [(0,), (1,), (0, 1)])
def test_a_signal_to_any_node_leaves_a_checkpoint_from_which_all_go_on(nodes, one_node, ranks):
    """The second node does not have the checkpoint."""
    hook = kill_in(ImageModule, "training_step", 5)
    (status, output), (other_status, other_output) = train_on(*nodes, hooks=dict.fromkeys(ranks, hook))
    assert output.splitlines()[-1] == (
        "Received SIGTERM: wrote a checkpoint of epoch 2, step 5; the next run goes on from there."
    )
    assert (status, other_status, other_output) == (143, 143, "")
    assert not (nodes[1] / "models").exists()
    (status, output), second = train_on(*nodes)
    assert (status, second) == (0, (0, ""))
    assert "Going on from step 5 of an interrupted run" in output
    assert (nodes[0] / "models/best.pt").read_bytes() == one_node


def test_a_signal_to_one_before_the_first_step_ends_both(nodes):
    """The first process may do a step before it hears of the signal."""
    (status, output), second = train_on(*nodes, hooks={1: kill_in(ImageModule, "validation_step", 1)})
    assert re.match("Received SIGTERM: (no step was done|wrote a checkpoint)", output.splitlines()[-1])
    assert (status, second) == (143, (143, ""))


@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_while_data_are_read_ends_both(nodes, rank):
    results = train_on(*nodes, hooks={rank: kill_in(fit, "checkpoint_path", 1)})
    assert [status for status, _ in results] == [143, 143]
    assert re.fullmatch("Received SIGTERM: .*", results[0][1].strip().splitlines()[-1])
    assert _ours(results[1][1]) == ""


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_is_killed_ends_the_other(nodes, rank):
    results = train_on(*nodes, hooks={rank: kill_in(ImageModule, "training_step", 5, signal.SIGKILL)})
    assert results[rank][0] == -signal.SIGKILL
    status, output = results[1 - rank]
    assert status == 1
    assert output.count("ERROR: A process of the training has ended without a word") == 1
    assert "Traceback" not in output


def other_beton(folders: tuple[Path, Path]) -> None:
    of_second = folders_of(folders[1])
    manifest = read_manifest(of_second.manifest("train"))
    write_beton(manifest, of_second.raw, of_second.beton("train"), BetonParams(write_mode="jpg"), workers=1)


def other_manifest(folders: tuple[Path, Path]) -> None:
    path = folders_of(folders[1]).manifest("val")
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")


def no_beton(folders: tuple[Path, Path]) -> None:
    folders_of(folders[1]).beton("val").unlink()


def nothing(folders: tuple[Path, Path]) -> None:
    pass


@pytest.mark.parametrize(
    ("change", "sections", "message"),
    [
        (other_beton, {}, "data/processed/colours/train.beton: "),
        (no_beton, {}, "data/processed/colours/val.beton is missing"),
        (other_manifest, {}, "data/interim/colours/val.csv: "),
        (nothing, {1: {"train": {"lr": 0.5}}}, "train.lr in params.yaml: 0.003 and 0.5"),
        (nothing, {1: {"data": {"batch_size": 15}}}, "data.batch_size 15 cannot be shared equally"),
        (nothing, {0: {"trainer": {"num_nodes": 3}, "data": {"batch_size": 18}}}, "started 2 processes"),
    ],
    ids=["beton", "no beton", "manifest", "params", "params of the second", "params of the first"],
)
def test_nodes_that_differ_are_refused_by_one_message_that_names_the_node(nodes, change, sections, message):
    change(nodes)
    (status, output), second = train_on(*nodes, sections=sections)
    assert (status, second) == (1, (1, ""))
    assert message in output
    assert output.count("ERROR: ") == 1
    assert 0 in sections or str(nodes[1]) in output
    assert not (nodes[0] / "models/best.pt").exists()


def test_a_mistake_that_all_have_is_told_once(nodes):
    wrong = {"trainer": {**NODES, "devices": 2}, **DISTRIBUTED}
    first, second = train_on(*nodes, sections={0: wrong, 1: wrong})
    assert first[0] == 1
    assert second == (1, "")
    assert first[1].startswith("ERROR: The launcher started 2 processes, 1 on each of 2 nodes, and params.yaml has ")
    assert len(first[1].strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("rank", "message"),
    [(0, "Of 2 processes 1 did not come in 1 s: rank 1."), (1, "Process 1 of 2, on .* has not reached the first one")],
)
def test_a_node_that_never_comes(nodes, rank, message):
    port = free_port()

    def alone() -> None:
        os.environ.update(environment(rank, port, **{WAIT: 1}))

    status, output = finish(*start(nodes[0], alone, trainer=NODES, **DISTRIBUTED))
    assert status == 1
    assert re.fullmatch(f"ERROR: {message}.*", output.strip())


def test_an_error_of_any_kind_ends_all_and_has_its_traceback(nodes):
    def fail() -> None:
        raise ValueError("a bug")

    first, second = train_on(*nodes, hooks={1: do_in(ImageModule, "training_step", 5, fail)})
    assert first[0] == 1
    assert re.search(r"ERROR: node 1 \(.*, rank 1\): ValueError: a bug$", first[1].strip())
    assert second == (99, "ValueError: a bug\n"), "as forked.py says what would be a traceback"


def test_a_fallback_in_one_process_alone_is_refused(nodes):
    def fail() -> None:
        raise ImportError("no kernels here")

    def hook() -> None:
        warnings.simplefilter("default")  # no error, as where no test runs
        do_in(ffcv_loader.FFCVDataLoader, "__init__", 1, fail)()

    (status, output), second = train_on(*nodes, hooks={1: hook})
    assert status == second[0] == 1
    assert "ERROR: FFCV loading of train failed in the process of rank 1, and not in the others." in output
    assert output.count("ERROR: ") == 1


# --- SLURM --------------------------------------------------------------------------------------


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Mapping[str, str]]:
    """The environment for commands of a SLURM with two nodes."""
    if reason := missing():
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder, cluster(Path(folder) / "toy") as environment:
        yield {**environment, "MASTER_ADDR": "127.0.0.1"}  # n1 and n2 are names of SLURM's alone


def test_a_job_of_slurm_is_requeued_before_its_time_is_up_and_goes_on(nodes, slurm):
    """With the script of the page, whose `dvc repro` is the command of the stage alone."""
    folder, whole = nodes
    trainer = {**NODES, "max_epochs": 60, "accelerator": "cpu"}
    (folder / "params.yaml").write_text(dump_yaml(merged(trainer=trainer, **DISTRIBUTED)))
    script = re.search(r"^```bash\n(#!/bin/bash\n#SBATCH.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)[1]
    for old, new in [
        (r"(ntasks-per-node)=4 ", r"\1=1 "),
        (r"#SBATCH --[gc]pus-per-.*\n", ""),
        (r" --cpus-per-task=\$SLURM_CPUS_PER_TASK", ""),
        (r"^dvc repro", shlex.join([sys.executable, *COMMAND])),
    ]:
        script, count = re.subn(old, new, script, flags=re.MULTILINE)
        assert count, old
    (folder / "train.sh").write_text(script)

    def said() -> str:
        return "".join(path.read_text() for path in folder.glob("slurm-*.out"))

    def run(*command: str) -> str:
        return subprocess.run(command, cwd=folder, env=slurm, check=True, capture_output=True, text=True).stdout

    job = run("sbatch", "--parsable", "train.sh").strip()
    wait_for(lambda: "Epoch 2/" in said(), said)
    run("scancel", "--batch", "--signal=TERM", job)
    wait_for(lambda: run("squeue", "-h", "-o", "%t").strip() == "PD", said)
    assert re.search("Received SIGUSR1: wrote a checkpoint of epoch .*; the next run goes on from there.", said())
    run("scontrol", "update", f"JobId={job}", "StartTime=now")  # SLURM lets a requeued job wait two minutes
    wait_for(lambda: not run("squeue", "-h"), said)
    assert "Going on from step" in said()
    assert train_on(whole, whole, sections={rank: {"trainer": trainer} for rank in (0, 1)})[1] == (0, "")
    assert (folder / "models/best.pt").read_bytes() == (whole / "models/best.pt").read_bytes()


def wait_for(condition: Callable[[], bool], said: Callable[[], str], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, said()
        time.sleep(0.1)


def _ours(output: str) -> str:
    """Without what torchrun says when the first node, which keeps its store, is gone before it has left."""
    return "".join(line for line in output.splitlines(keepends=True) if "torch/distributed/elastic/" not in line)
