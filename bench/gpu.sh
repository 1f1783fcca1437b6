#!/usr/bin/env bash
# All checks and figures that need a GPU, on one GPU, in under ten minutes. Run this
# first where there is a GPU, from a plain checkout; PyTorch and what comes with it is enough.
#
#   bench/gpu.sh [OUT]                     OUT: a new or empty folder; default gpu-figures
#   PYTHON=.venv/bin/python bench/gpu.sh   with another Python than python3
#   WHEELS=DIR bench/gpu.sh OUT            with packages that are not installed there
#   SECTIONS="tests steps" BUDGET=240 bench/gpu.sh OUT
#   DEVICE=cpu BUDGET=120 SECTIONS="environment steps" bench/gpu.sh OUT     without a GPU
#
# Writes OUT/figures.jsonl (every figure), OUT/log.txt (all that was printed) and OUT/summary.txt,
# which it prints at the end, in under 12,000 characters. A section that fails ends no other. BUDGET
# is the seconds for all sections, 540 if it is not set; each gets its part of them. Exit code: 0 if no
# section failed, 1 if one did, 2 if what was typed cannot be run; then nothing is written.
# docs/performance.md says what is measured, and how the time is shared.
#
# What must be installed: Python 3.11 or newer with torch, numpy, PyYAML, psutil and nvidia-ml-py.
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
case ${1:-} in -h | --help)
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
    exit
    ;;
esac
# Name, seconds and module of bench/gpu/ of each section, the most valuable first. 540 seconds in all.
table='environment 25 environment
tests 100 tests
steps 165 steps
repeat 30 repeat
attention 30 attention
collectives 25 collectives
decode 35 decode
runs 40 runs
doctor 45 doctor
energy 10 energy
compiled 35 steps --compile'

stop() {
    echo "bench/gpu.sh: $1" >&2
    exit 2
}
root=$(cd "$(dirname "$0")/.." && pwd)
typed=${PYTHON:-python3}
python=$(command -v "$typed") || stop "PYTHON=$typed is not a program; type PYTHON=/path/to/python3 bench/gpu.sh"
if [[ $python != /* ]]; then python=$PWD/$python; fi
budget=${BUDGET:-540}
# OMP_* as ttt/launch/process.py sets them for `ttt run`; ttt/machine/binding.py then lowers the threads.
threads=${OMP_NUM_THREADS:-$(nproc)}
export OMP_NUM_THREADS=$threads OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
export PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH=$root:$root/bench${PYTHONPATH:+:$PYTHONPATH}
export TTT_BENCH_COMMAND="bench/gpu.sh $*"
mapfile -t names < <(cut -d ' ' -f 1 <<<"$table")
device=$("$python" -m gpu.check "${names[*]}" "$@") || exit 2

work=$(mktemp -d)
child=
# `timeout` gives a section a process group of its own, which Ctrl-C in the terminal does not reach.
# shellcheck disable=SC2317  # the traps call it
end() {
    if [[ -n $child ]]; then
        kill -TERM "$child" || true
        wait "$child" || true
    fi
    exit "$1"
}
trap 'rm -rf "$work"' EXIT
trap 'end 130' INT
trap 'end 143' TERM
export HYPOTHESIS_STORAGE_DIRECTORY=$work/hypothesis

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
        --target "$work/site" || return
    # An installed package `nvidia` would hide the parts that lie here, or these would hide its own.
    if [[ -d $work/site/nvidia ]]; then
        echo '__path__ = __import__("pkgutil").extend_path(__path__, __name__)' \
            >"$work/site/nvidia/__init__.py"
    fi
    export PYTHONPATH=$PYTHONPATH:$work/site
}
if [[ -n ${WHEELS:-} ]]; then
    bring "$WHEELS" || stop "pip cannot install the wheels in WHEELS=$WHEELS; the reason is above"
fi
out=${1:-gpu-figures}
mkdir -p "$out" || exit 2
out=$(cd "$out" && pwd)
figures=$out/figures.jsonl
export TTT_BENCH_FIGURES=$figures

cd "$root"
chosen=() total=0
while read -r name seconds module; do
    if [[ -z ${SECTIONS:-} || " $SECTIONS " == *" $name "* ]]; then
        chosen+=("$name $seconds $module")
        total=$((total + seconds))
    fi
done <<<"$table"
begin=$SECONDS due=0 failed=0
for section in "${chosen[@]}"; do
    read -r name seconds module <<<"$section"
    read -ra words <<<"$module" # a module, and options of it
    # A section may run until its part and those of the sections before it are over: it gets what
    # they have left.
    due=$((due + seconds))
    limit=$((begin + (budget - begin) * due / total - SECONDS))
    log=$work/$name.log start=$SECONDS code=0
    if ((limit < 2)); then
        limit=0 code=124
        : >"$log"
    else
        echo "$name, at most $limit s"
        TTT_BENCH_SECONDS=$limit timeout --kill-after=5 "$limit" "$python" -m "gpu.${words[0]}" \
            --device "$device" --figures "$figures" "${words[@]:1}" >"$log" 2>&1 </dev/null &
        child=$!
        wait "$child" || code=$?
        child=
    fi
    # The seconds it needed, its limit, and the seconds that it should get.
    "$python" -m gpu.summary --record "$figures" "$name" $((SECONDS - start)) "$limit" "$seconds" \
        "$code" "$log" || failed=1
    { printf '\n===== %s\n' "$name" && cat "$log"; } >>"$out/log.txt"
done

"$python" -m gpu.summary "$figures" | tee "$out/summary.txt"
exit "$failed"
