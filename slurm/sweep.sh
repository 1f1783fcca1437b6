#!/usr/bin/env bash
# How the time to train falls with the number of nodes: a job for each size, all submitted at once.
# Arguments are overrides; NODES are the sizes.
#   NODES=1,2,4,8 slurm/sweep.sh benchmark=cifar10 data.root=DIR launcher.gpus_per_node=8 runs=5
#   ttt report runs/cifar10        once they have ended
set -euo pipefail
exec ttt run --multirun launcher=slurm launcher.nodes="${NODES:-1,2,4}" "$@"
