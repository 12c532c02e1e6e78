#!/bin/bash
# One pass over a machine with a GPU, from a source tree: does everything work, and how fast is it?
#   bash benchmarks/gpu_pass.sh [--tiny] [WHEELS]
# WHEELS is a folder of wheels to install aside. Reports are written to $OUT after each measurement; docs/gpu.md has the
# steps and their limits. --tiny runs every step small on the CPU. $PYTHON is the interpreter, $TOTAL the seconds for
# everything.
set -u

TOTAL=${TOTAL:-570}
# shellcheck source=benchmarks/gpu_steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/gpu_steps.sh"

has() { "$PYTHON" -c "import $1" 2> /dev/null; }

# The tests on the GPU, several at a time where pytest-xdist is there. Warnings of the machine's own plugins fail nothing.
gpu_tests() {
    local options=(-m gpu -q -rs -o filterwarnings=default -p no:cacheprovider -p no:benchmark)
    has xdist && options+=(-n 6)
    has pytest_timeout && options+=(--timeout 100)
    if [ "$SIZE" = tiny ]; then
        echo "no CUDA device: the tests are only collected"
        options+=(--collect-only)
    fi
    cd "$ROOT" && step tests 130 "$PYTHON" -m pytest "${options[@]}" tests/gpu
}

# Which tiles are the fastest decides nothing in this pass: it is measured where time is left, and not counted otherwise.
tiles() {
    if [ $((TOTAL - SECONDS)) -lt 60 ]; then
        echo "### $SECONDS s: tiles are left out, less than 60 s are left"
    elif [ "$SIZE" = tiny ]; then
        step tiles 100 echo "no CUDA device: no tiles are compared"
    else
        step tiles 100 "$PYTHON" benchmarks/bench_tiles.py --json "$OUT/tiles-$KIND.json"
    fi
}

pass() {
    cd "$ROOT" || exit 1
    begin
    # The self-tests compile a few kernels one after the other, so the rest is compiled beside them.
    timeout 110 "$PYTHON" benchmarks/warm_kernels.py --failed "$WORK/failed.txt" > "$WORK/kernels.txt" 2>&1 &
    local kernels=$!
    step doctor 100 "$PYTHON" -c '
import json, sys
from lewm.doctor import diagnose
found = diagnose()
for one in found.operators:
    print(one.operator, one.device, one.backend, one.error, one.problem or "passed")
print(json.dumps(found.as_dict()))
sys.exit(not found.healthy)
'
    step kernels 110 tail --pid="$kernels" -f /dev/null
    wait "$kernels" || FAILED=$((FAILED + 1))
    cat "$WORK/kernels.txt"
    step ceilings 25 "$PYTHON" benchmarks/bench_ceilings.py "${QUICK[@]}" --device "$DEVICE" \
        --json "$OUT/ceilings-$KIND.json"
    : > "$OUT/profile-$KIND.txt"
    touch "$WORK/failed.txt"
    step planning 170 "$PYTHON" benchmarks/bench_planning.py "${QUICK[@]}" --device "$DEVICE" --models paper \
        --parts a b c --paths reference torch triton lewm --precisions bf16 tf32 fp32 --without "$WORK/failed.txt" \
        --turns 3 --budget 110 --profile "$OUT/profile-$KIND.txt" --json "$OUT/planning-$KIND.json"
    gpu_tests
    step sigreg 75 "$PYTHON" benchmarks/bench_sigreg.py "${QUICK[@]}" --device "$DEVICE" --shapes paper wide --compile \
        --turns 15 --budget 45 --json "$OUT/sigreg-$KIND.json"
    step training 100 "$PYTHON" benchmarks/bench_training.py "${QUICK[@]}" --device "$DEVICE" \
        --profile "$OUT/profile-$KIND.txt" --json "$OUT/training-$KIND.json"
    step baselines 160 "$PYTHON" benchmarks/bench_planning.py "${QUICK[@]}" --device "$DEVICE" --models paper \
        --parts a b c d --paths reference-compiled stable-worldmodel lewm --precisions bf16 \
        --without "$WORK/failed.txt" --turns 3 --budget 130 --json "$OUT/planning-$KIND-compiled.json"
    tiles
    end
}

logged "$OUT/$KIND-pass.log" pass
