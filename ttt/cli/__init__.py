"""The commands: each reads its arguments and returns an exit code. None imports torch."""

COMMANDS = {
    "run": "train to a target and stop the clock",
    "check": "check result logs with MLCommons' compliance checker",
    "report": "compare finished runs",
    "package": "make a submission of runs, judged by MLCommons' own tools",
    "data": "prepare a data set, off the clock",
    "plan": "say whether a run fits on a machine that is not here, and what it sends",
    "new": "write a benchmark of your own, to change or for your data",
    "doctor": "examine this machine or allocation, and judge it",
    "completion": "let the Tab key complete all this in bash, zsh or fish",
}
