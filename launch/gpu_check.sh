#!/usr/bin/env bash
# Everything that needs a GPU, checked and measured on one GPU in under ten minutes; the first thing to
# run where there is one. bench/gpu.sh says what it needs, docs/performance.md what it measures.
#   launch/gpu_check.sh OUT                                                  this machine
#   srun --gpus 1 --cpus-per-task 16 --time 15 launch/gpu_check.sh OUT       one GPU of a cluster
set -euo pipefail
exec "$(dirname "$0")/../bench/gpu.sh" "$@"
