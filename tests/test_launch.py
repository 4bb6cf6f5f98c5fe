"""Which process of a training this is, by what torchrun and srun set; and what contradicts itself is refused."""

import re

import pytest

from formwork.errors import FormworkError, ParamsError
from formwork.launch import Process, check, first_host, start_on_all_nodes, this_process

TORCHRUN = {
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "head",
    "MASTER_PORT": "29500",
    "TORCHELASTIC_RUN_ID": "none",
}
JOB = {  # what both a batch script and a task of srun have
    "ENVIRONMENT": "BATCH",
    "SLURM_JOB_ID": "70001",
    "SLURM_JOB_NODELIST": "a[07-08],b",
    "SLURM_LOCALID": "0",
    "SLURM_NNODES": "3",
    "SLURM_NTASKS": "6",
    "SLURM_PROCID": "0",
}
TASK = {
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_NODELIST": "a[07-08]",
}


def test_a_process_of_torchrun():
    process = this_process(TORCHRUN)
    assert process == Process("torchrun", 5, 8, 1, 4, "head", 29500)
    assert (process.nodes, process.node) == (2, 1)


def test_a_task_of_srun_which_may_have_a_part_of_the_job():
    task = {**JOB, **TASK, "SLURM_PROCID": "3", "SLURM_LOCALID": "1"}
    assert this_process(task) == Process("srun", 3, 4, 1, 2, "a07", 25001)
    assert this_process({**task, "MASTER_ADDR": "x", "MASTER_PORT": "7"}) == Process("srun", 3, 4, 1, 2, "x", 7)
    assert this_process({**task, **TORCHRUN}).launcher == "torchrun"


def test_a_process_that_was_started_alone():
    assert this_process({}) is None
    assert this_process(JOB) is None, "a batch script is no task"
    assert this_process({name: value for name, value in JOB.items() if name != "SLURM_PROCID"}) is None, "salloc"
    one = {"SLURM_STEP_NUM_NODES": "1", "SLURM_STEP_NUM_TASKS": "1"}
    assert this_process({**JOB, **TASK, **one}) is None, "a single task starts the others itself"
    assert this_process({"MASTER_ADDR": "head", "MASTER_PORT": "29500"}) is None, "as a profile may have it"


@pytest.mark.parametrize("name", [name for name in TORCHRUN if name != "TORCHELASTIC_RUN_ID"])
def test_a_variable_that_is_missing_is_named(name):
    with pytest.raises(FormworkError, match=rf"and not {name}: torchrun sets all of them"):
        this_process({key: value for key, value in TORCHRUN.items() if key != name})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"RANK": "8"}, "rank 8 of 8"),
        ({"LOCAL_RANK": "2"}, "of its node 2 of 4"),
        ({"LOCAL_WORLD_SIZE": "3"}, "contradicts itself"),
        ({"LOCAL_WORLD_SIZE": "0"}, "contradicts itself"),
        ({"MASTER_PORT": "0"}, "port 0"),
        ({"RANK": "-1"}, "RANK in the environment is '-1', and must be a number."),
        ({"WORLD_SIZE": "eight"}, "WORLD_SIZE in the environment is 'eight'"),
    ],
)
def test_variables_that_contradict_each_other(changes, message):
    with pytest.raises(FormworkError, match=re.escape(message)):
        this_process({**TORCHRUN, **changes})


def test_tasks_that_nodes_cannot_share_equally():
    with pytest.raises(FormworkError, match="srun started 5 tasks on 2 nodes"):
        this_process({**JOB, **TASK, "SLURM_STEP_NUM_TASKS": "5"})
    with pytest.raises(FormworkError, match="There is SLURM_PROCID in the environment, and not SLURM_LOCALID"):
        this_process({"SLURM_PROCID": "0"})


@pytest.mark.parametrize(
    ("hosts", "first"),
    [("a", "a"), ("a,b", "a"), ("a[03-07,9],b", "a03"), ("a[5]", "a5"), ("rack1-[2,4]-x[7-8]", "rack1-2-x7")],
)
def test_the_first_of_the_hosts_of_a_job(hosts, first):
    assert first_host(hosts) == first


def test_params_must_ask_for_the_processes_that_there_are():
    process = this_process(TORCHRUN)
    check(process, 2, 4)
    check(process, 2, None)
    check(None, 1, 2)
    for nodes, devices in ((1, 4), (4, 2), (2, 1), (1, None)):
        with pytest.raises(
            ParamsError, match=r"8 processes, 4 on each of 2 nodes.*num_nodes: 2 and trainer.devices: 4"
        ):
            check(process, nodes, devices)
    with pytest.raises(ParamsError, match=r"trainer\.num_nodes is 2, and this process was started alone"):
        check(None, 2, 1)


@pytest.mark.parametrize("launcher", ["'", "no-such-launcher -n 2"])
def test_a_launcher_that_is_no_command(launcher):
    with pytest.raises(FormworkError, match="FORMWORK_LAUNCHER"):
        start_on_all_nodes(launcher)
