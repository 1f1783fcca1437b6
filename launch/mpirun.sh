#!/usr/bin/env bash
# One run on every GPU of this workstation (two processes without one), typed the MPI way: rank 0
# composes the configuration, and there is one run folder. Arguments are overrides. Without --bind-to
# none Open MPI gives each process one core; ttt divides all of them.
#   launch/mpirun.sh benchmark=cifar10 data.root=DIR precision=bf16
set -euo pipefail
gpus=$(nvidia-smi --list-gpus 2>/dev/null | wc -l) || true
# The processes check each other's messages by this key.
TTT_KEY=${TTT_KEY:-$(od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n')}
export TTT_KEY
exec mpirun -n "$((gpus > 0 ? gpus : 2))" --bind-to none python -m ttt run "$@"
