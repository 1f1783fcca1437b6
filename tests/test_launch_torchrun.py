"""What torchrun's own words say of a rank that had none."""

import socket

from ttt.launch.torchrun import death

# As torchrun 2.13 prints it when both ranks were gone at its next look: the survivor comes first.
BOTH = """
E1123 18:02:31 661 torch/distributed/elastic/multiprocessing/api.py:1002] failed (exitcode: 5) \
local_rank: 0 (pid: 31976) of binary: python
ttt.worker FAILED
------------------------------------------------------------
Failures:
[1]:
  time      : 2026-11-23_18:02:44
  host      : localhost
  rank      : 1 (local_rank: 1)
  exitcode  : -9 (pid: 31977)
  error_file: <N/A>
  traceback : Signal 9 (SIGKILL) received by PID 31977
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2026-11-23_18:02:43
  host      : localhost
  rank      : 0 (local_rank: 0)
  exitcode  : 5 (pid: 31976)
  error_file: /tmp/error.json
  traceback : RuntimeError: Connection closed by peer
"""


def test_the_killed_rank_is_named_whoever_comes_first_in_the_list():
    said = f"rank 1 on {socket.gethostname()} was ended by SIGKILL"
    assert death(BOTH, {0}).startswith(said)
    assert death(BOTH, set()).startswith(said)


def test_a_rank_that_just_left_is_named_with_its_code():
    assert death(BOTH.replace("-9", "7"), {0}) == "rank 1 ended with exit code 7 and left no word"


def test_what_is_no_list_of_ranks_is_shown_as_it_is():
    assert (
        death("no such option: --surprise", set()) == "torchrun failed:\nno such option: --surprise"
    )
    assert "first observed failure" in death(BOTH, {0, 1})
