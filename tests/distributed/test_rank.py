"""Every launcher's way of saying who a process is."""

from pathlib import Path

import pytest

from ttt.distributed.rank import Placement, from_environment, launch_problem, to_go_on

OMPI = {
    "OMPI_COMM_WORLD_RANK": "5",
    "OMPI_COMM_WORLD_SIZE": "8",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "4",
    "PMIX_RANK": "5",
}
SRUN = {
    "SLURM_PROCID": "5",
    "SLURM_NTASKS": "8",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
}


@pytest.mark.parametrize(
    ("environment", "launcher"),
    [
        ({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}, "torchrun"),
        (OMPI, "mpi"),
        (
            {"PMI_RANK": "5", "PMI_SIZE": "8", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "4"},
            "mpi",
        ),
        (
            {
                "MV2_COMM_WORLD_RANK": "5",
                "MV2_COMM_WORLD_SIZE": "8",
                "MV2_COMM_WORLD_LOCAL_RANK": "1",
                "MV2_COMM_WORLD_LOCAL_SIZE": "4",
            },
            "mpi",
        ),
        (
            {  # DeepSpeed's
                "RANK": "5",
                "WORLD_SIZE": "8",
                "LOCAL_RANK": "1",
                "LOCAL_SIZE": "4",
                "CROSS_RANK": "1",
                "CROSS_SIZE": "2",
            },
            "torchrun",
        ),
        (SRUN, "slurm"),
        (
            {"PMI_RANK": "5", "PMI_SIZE": "8", "PMI_LOCAL_RANK": "1", "PMI_LOCAL_SIZE": "4"},
            "mpi",
        ),
        (
            {
                "JSM_NAMESPACE_RANK": "5",
                "JSM_NAMESPACE_SIZE": "8",
                "JSM_NAMESPACE_LOCAL_RANK": "1",
                "JSM_NAMESPACE_LOCAL_SIZE": "4",
            },
            "mpi",
        ),
    ],
)
def test_a_process_knows_its_place(environment, launcher):
    assert from_environment(environment) == Placement(5, 8, 1, 4, launcher)
    assert launch_problem(environment) is None


@pytest.mark.parametrize(
    ("told", "node", "here"), [("4(x2)", 1, 4), ("2(x3),1", 3, 1), ("3,1(x2)", 0, 3)]
)
def test_srun_tells_the_tasks_of_each_node(told, node, here):
    environment = SRUN | {"SLURM_STEP_TASKS_PER_NODE": told, "SLURM_NODEID": str(node)}
    placement = from_environment(environment)
    assert placement is not None
    assert placement.local_size == here


def test_the_workers_of_torchrun_inside_a_job_step_are_torchruns():
    inner = {"RANK": "2", "WORLD_SIZE": "16", "LOCAL_RANK": "2", "LOCAL_WORLD_SIZE": "8"}
    assert from_environment(SRUN | inner) == Placement(2, 16, 2, 8, "torchrun")


def test_a_batch_script_and_a_shell_in_an_allocation_are_not_launched():
    script = {name: value for name, value in SRUN.items() if "STEP" not in name}
    assert from_environment(script | {"SLURM_PROCID": "0", "SLURM_LOCALID": "0"}) is None
    assert from_environment({"SLURM_JOB_ID": "3", "SLURM_NNODES": "2"}) is None


def test_one_task_alone_is_a_process_like_any_other_but_torchruns_is_not():
    shell = SRUN | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
    assert from_environment(shell) is None
    alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    assert from_environment(alone) == Placement()


def test_a_rank_without_a_size_is_no_world_of_one():
    assert from_environment({"PMIX_RANK": "3"}) is None
    assert "PMIX_RANK=3" in str(launch_problem({"PMIX_RANK": "3"}))
    assert launch_problem({}) is None


@pytest.mark.parametrize(
    ("environment", "lacks"),
    [
        ({"RANK": "1", "WORLD_SIZE": "2"}, "LOCAL_RANK, LOCAL_WORLD_SIZE"),  # Kubeflow
        ({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}, "LOCAL_WORLD_SIZE"),  # Azure ML
        ({"PMI_RANK": "1", "PMI_SIZE": "2"}, "MPI_LOCALRANKID, MPI_LOCALNRANKS"),  # MPICH
        ({"RANK": "x", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}, "RANK"),
        ({"OMPI_COMM_WORLD_RANK": "1"}, "OMPI_COMM_WORLD_SIZE"),
        ({"PALS_RANKID": "1", "PALS_NODEID": "0"}, "PALS_RANKID=1 says"),
        ({"FLUX_TASK_RANK": "1", "FLUX_JOB_SIZE": "2"}, "FLUX_TASK_RANK=1 says"),
        ({"HOROVOD_RANK": "1", "HOROVOD_SIZE": "2"}, "HOROVOD_RANK=1 says"),
        # A shell of one task, or one where WORLD_SIZE=1 was left, and in it another launcher.
        ({"SLURM_STEP_NUM_TASKS": "1", "PMI_RANK": "1", "PMI_SIZE": "2"}, "MPI_LOCALRANKID"),
        ({"WORLD_SIZE": "1", "PMI_RANK": "1", "PMI_SIZE": "2"}, "MPI_LOCALRANKID"),
    ],
)
def test_a_rank_launch_problem_is_refused(environment, lacks):
    assert from_environment(environment) is None
    sentence = launch_problem(environment)
    assert lacks in sentence
    assert "LOCAL_RANK and LOCAL_WORLD_SIZE in each" in sentence


ALONE = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}


@pytest.mark.parametrize(("launched", "name"), [(SRUN, "slurm"), (OMPI, "mpi")])
def test_variables_left_in_the_shell_make_no_tasks_train_alone(launched, name):
    said = launch_problem(ALONE | launched)
    assert f"its launcher ({name}) that it is rank 5 of 8" in said
    assert "unset RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE" in said
    assert launch_problem(ALONE) is None
    # An agent of torchrun's in each task, with one worker: that is what was asked for.
    assert launch_problem(ALONE | launched | {"TORCHELASTIC_RUN_ID": "1"}) is None


def test_a_process_alone_may_be_told_so_in_half_the_words():
    assert launch_problem({"FLUX_TASK_RANK": "0", "FLUX_JOB_SIZE": "1"}) is None
    assert launch_problem({"PMIX_RANK": "0", "SLURM_STEP_NUM_TASKS": "1"}) is None
    assert launch_problem({"RANK": "0", "WORLD_SIZE": "1"}) is None
    assert launch_problem({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}) is None  # a batch script
    assert launch_problem({"PMI_RANK": "0", "PMI_SIZE": "1"}) is None


@pytest.mark.parametrize("name", ["RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"])
def test_a_row_counts_only_when_it_is_complete(name):
    row = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
    assert from_environment(row | {name: "x"}) is None
    del row[name]
    assert from_environment(row) is None


@pytest.mark.parametrize(
    ("placement", "line"),
    [
        (None, "python -m ttt.worker 'a run'"),
        (
            Placement(size=2, local_size=2),
            "torchrun --standalone --nproc-per-node 2 -m ttt.worker 'a run'",
        ),
        (
            Placement(size=4, local_size=2),
            "python -m ttt.worker 'a run', in each process, started as before",
        ),
    ],
)
def test_a_suspended_run_goes_on_as_it_was_started(placement: Placement | None, line: str):
    assert to_go_on(placement, Path("a run")) == line
