"""The page on writing a benchmark is true: its files are written out and its commands run."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

from ground import environment
from pages import PAGE, write_out


def test_a_benchmark_of_ones_own_trains_to_its_target_and_passes_the_check(tmp_path: Path):
    write_out(tmp_path)
    [commands] = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    ours = f"{sys.executable} -m ttt"
    for line in commands.splitlines():
        typed = shlex.split(re.sub("^ttt", ours, line))
        done = subprocess.run(
            typed, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    [summary] = tmp_path.glob("runs/rings/*/seed_1/summary.json")
    told = json.loads(summary.read_text())
    assert told["status"] == "success"
    assert told["world_size"] == 2
    assert told["quality"] >= 0.99
