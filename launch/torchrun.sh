#!/usr/bin/env bash
# One run on every GPU of this workstation (two processes without one), typed the torchrun way:
# rank 0 composes the configuration, and there is one run folder. Arguments are overrides.
#   launch/torchrun.sh benchmark=cifar10 data.root=DIR precision=bf16
set -euo pipefail
gpus=$(nvidia-smi --list-gpus 2>/dev/null | wc -l) || true
# The processes check each other's messages by this key. torchrun uses a file in place of its own
# store, which would listen at every address of this machine.
TTT_KEY=${TTT_KEY:-$(od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n')}
export TTT_KEY TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
exec torchrun --nnodes 1 --local-addr 127.0.0.1 --rdzv-backend c10d --rdzv-conf store_type=file \
    --rdzv-id "$RANDOM$RANDOM$RANDOM" --nproc-per-node "$((gpus > 0 ? gpus : 2))" -m ttt run "$@"
