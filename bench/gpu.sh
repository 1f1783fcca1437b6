#!/usr/bin/env bash
# All checks and figures that need a GPU, on one GPU, in under ten minutes. Run this
# first where there is a GPU, from a plain checkout; PyTorch and what comes with it is enough.
#
#   bench/gpu.sh [OUT]                 OUT: a new or empty folder; default gpu-figures
#   WHEELS=DIR bench/gpu.sh OUT        with packages that are not installed there
#   SECTIONS="tests steps" DEVICE=cpu BUDGET=120 bench/gpu.sh OUT
#
# Writes OUT/figures.jsonl (every figure), OUT/log.txt (all that was printed) and OUT/summary.txt,
# which it prints at the end, in under 12,000 characters. Sections run one after the other, by what
# they are worth; each has a time limit, and one that fails ends no other. BUDGET is the seconds for
# all. Exit code: 0 if no section failed, 1 otherwise. docs/performance.md says what is measured.
#
# Nothing is installed but, into a temporary folder, the wheels in WHEELS. Sections that need a package
# which is absent are skipped by its name. Wheels for Python 3.12 on x86-64 and their sizes in MB:
#
#   ttt run, ttt doctor    hydra_core 1.3.8 0.17, omegaconf 2.3.1 0.08, antlr4_python3_runtime 4.9.3
#                          0.14 (made by: pip wheel --no-deps antlr4-python3-runtime==4.9.3),
#                          mlperf_logging 4.1.68 0.37 (uses pandas)
#   images (DALI)          nvidia_dali_cuda130 2.4.0 198.7, nvidia_nvimgcodec_cu13 0.9.0.20 25.0,
#                          nvidia_libnvcomp_cu13 5.3.0.16 28.5, nvidia_nvjpeg2k_cu13 0.11.0.51 4.3,
#                          nvidia_nvjpeg 13.3.2.43 3.8, nvtx 0.2.17 3.1, nvidia_nvtiff_cu13 0.8.0.82
#                          2.4, libcst 1.9.0 2.3, optree 0.20.0 0.5, gast 0.7.0 0.02, makefun 0.02,
#                          astunparse 1.6.3 0.01
#   dates (text)           babel 2.18.0 10.2, num2words 0.5.14 0.16, docopt 0.6.2 0.01 (made by: pip
#                          wheel --no-deps docopt==0.6.2)
#
#   pip download --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
#       --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 -d DIR NAME==VERSION
# Each is named, because --no-deps brings no other; DALI also uses six and packaging.
#
# A wheel may come in pieces (split --bytes 50M X.whl X.whl.part-); they are joined.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
out=${1:-gpu-figures}
mkdir -p "$out"
out=$(cd "$out" && pwd)
figures=$out/figures.jsonl
if [[ -s $figures ]]; then
    echo "bench/gpu.sh: $figures is there; type another folder: bench/gpu.sh OUT" >&2
    exit 2
fi
: >"$figures"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TTT_BENCH_COMMAND="bench/gpu.sh $*"
export TTT_BENCH_FIGURES=$figures
export PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH=$root:$root/bench${PYTHONPATH:+:$PYTHONPATH}

python=${PYTHON:-python3}
budget=${BUDGET:-540}
if ! here=$("$python" -c 'import torch; print(("cpu", "cuda")[torch.cuda.is_available()])'); then
    echo "bench/gpu.sh: $python has no PyTorch; type PYTHON=/path/to/python3 bench/gpu.sh OUT" >&2
    exit 2
fi
device=${DEVICE:-$here}

# Install the wheels of a folder where this and no other program sees them.
bring() {
    local first name
    for first in "$1"/*.whl.part-*; do
        [[ -e $first ]] || continue
        name=$(basename "${first%.part-*}")
        [[ -e $work/$name ]] || cat "$1/$name".part-* >"$work/$name"
    done
    find "$1" "$work" -maxdepth 1 -name '*.whl' -print0 | xargs -0 "$python" -m pip install --quiet \
        --no-index --no-deps --no-compile --no-cache-dir --disable-pip-version-check \
        --target "$work/site"
    # An installed package `nvidia` would hide the parts that lie here, or these would hide its own.
    if [[ -d $work/site/nvidia ]]; then
        echo '__path__ = __import__("pkgutil").extend_path(__path__, __name__)' \
            >"$work/site/nvidia/__init__.py"
    fi
    export PYTHONPATH=$PYTHONPATH:$work/site
}
if [[ -n ${WHEELS:-} ]]; then bring "$WHEELS"; fi

cd "$root"
failed=0
# section NAME LIMIT COMMAND ...: run a command for at most LIMIT seconds and note how it ended.
section() {
    local name=$1 limit=$2 log=$out/$1.log begin=$SECONDS code=0
    shift 2
    if [[ -n ${SECTIONS:-} && " $SECTIONS " != *" $name "* ]]; then return; fi
    if ((limit > budget - SECONDS)); then limit=$((budget - SECONDS)); fi
    if ((limit < 2)); then
        code=77
        echo "no time left of BUDGET=$budget" >"$log"
    else
        echo "$name, at most $limit s"
        TTT_BENCH_SECONDS=$limit timeout --kill-after=5 "$limit" "$@" >"$log" 2>&1 </dev/null || code=$?
    fi
    "$python" -m gpu.summary --record "$figures" "$name" $((SECONDS - begin)) "$code" "$log"
    { printf '\n===== %s\n' "$name" && cat "$log"; } >>"$out/log.txt"
    rm "$log"
    if ((code != 0 && code != 77)); then failed=1; fi
}
# measure NAME LIMIT FILE ...: a section that a file of bench/gpu/ measures.
measure() {
    local name=$1 limit=$2 file=$3
    shift 3
    section "$name" "$limit" "$python" -m "gpu.$file" --device "$device" \
        --figures "$figures" "$@"
}

mapfile -t tests < <(grep -l 'mark\.gpu' tests/test_*.py)
measure environment 30 environment
section tests 120 "$python" -m gpu.tests "${tests[@]}"
measure steps 220 steps
measure repeat 60 repeat
measure attention 60 attention
measure collectives 45 collectives
measure decode 60 decode
measure runs 90 runs
measure doctor 60 doctor
measure energy 30 energy
measure compiled 120 steps --compile --benchmarks digits clicks cifar10 resnet --precisions bf16

"$python" -m gpu.summary "$figures" | tee "$out/summary.txt"
exit "$failed"
