"""What torch is asked to do with NCCL, and what its errors say of this process and of others."""

import pytest
import torch
from torch._C import _DistBackendError

from ttt.distributed.world import lost_peer, set_up_nccl

# What torch 2.5 to 2.13 and NCCL 2.20 to 2.29 print, by their sources and users' reports.
AFTERWARDS = [
    "NCCL error in: ProcessGroupNCCL.cpp:3690, remote process exited or there was a network error,"
    " NCCL version 2.27.5\nncclRemoteError: A call failed possibly due to a network error or a"
    " remote process exiting prematurely.\nLast error:\nsocketProgress: Connection closed by remote"
    " peer n2<45074>",
    "NCCL error in: NCCLUtils.cpp:94, unhandled system error (run with NCCL_DEBUG=INFO for"
    " details), NCCL version 2.27.5\nncclSystemError: System call (e.g. socket, malloc) or external"
    " library call failed or device error. \nLast error:\nsocketStartConnect: Call to recv from"
    " n2<41007> failed : Connection reset by peer",
    "NCCL communicator was aborted on rank 0. ",
    "[Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=6463,"
    " OpType=ALLREDUCE, NumelIn=1, NumelOut=1, Timeout(ms)=360000) ran for 360017 milliseconds"
    " before timing out.",
    "[1] is setting up NCCL communicator and retrieving ncclUniqueId from [0] via c10d key-value"
    " store by key '0', but store->get('0') got error: Connection reset by peer",
]
OF_ITS_OWN = [
    "NCCL error in: NCCLUtils.cpp:94, unhandled cuda error (run with NCCL_DEBUG=INFO for details),"
    " NCCL version 2.27.5\nncclUnhandledCudaError: Call to CUDA function failed.\nLast error:\nCuda"
    " failure 2 'out of memory'",
    "NCCL error in: NCCLUtils.cpp:94, invalid usage (run with NCCL_DEBUG=WARN for details), NCCL"
    " version 2.27.5\nncclInvalidUsage: This usually reflects invalid usage of NCCL library.\nLast"
    " error:\nDuplicate GPU detected : rank 1 and rank 0 both on CUDA device 1b000",
    "NCCL error in: NCCLUtils.cpp:94, unhandled system error (run with NCCL_DEBUG=INFO for"
    " details), NCCL version 2.27.5\nncclSystemError: System call (e.g. socket, malloc) or external"
    " library call failed or device error. \nLast error:\nError while creating shared memory"
    " segment /dev/shm/nccl-dZvb0n (size 9637888), error: No space left on device (28)",
]


@pytest.mark.parametrize("text", AFTERWARDS)
def test_a_rank_that_nccl_stopped_because_of_another_is_not_the_first(text):
    assert lost_peer(_DistBackendError(text))
    assert lost_peer(RuntimeError(text))


@pytest.mark.parametrize("text", OF_ITS_OWN)
def test_what_nccl_could_not_do_here_is_this_ranks_own_failure(text):
    assert not lost_peer(_DistBackendError(text))


def test_a_cuda_error_is_this_ranks_own_failure():
    assert not lost_peer(
        torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
    )
    assert not lost_peer(ZeroDivisionError("gloo"))


def test_torchs_own_watchdog_leaves_it_to_the_main_thread_to_say_what_failed():
    ours, users = {}, {"TORCH_NCCL_RETHROW_CUDA_ERRORS": "1", "TORCH_FR_BUFFER_SIZE": "9"}
    set_up_nccl(ours)
    set_up_nccl(users)
    assert ours["TORCH_NCCL_RETHROW_CUDA_ERRORS"] == "0"
    assert users["TORCH_NCCL_RETHROW_CUDA_ERRORS"] == "1"
    assert (ours["TORCH_FR_BUFFER_SIZE"], users["TORCH_FR_BUFFER_SIZE"]) == ("2000", "9")
    assert "TORCH_NCCL_ASYNC_ERROR_HANDLING" not in ours  # a rank must not go on after an abort
