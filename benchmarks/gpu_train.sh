#!/bin/bash
# Ten minutes on a machine with a GPU and 16 cores, from a source tree: collect Push-T, train on it, solve held-out tasks.
#   bash benchmarks/gpu_train.sh [--tiny] [WHEELS]
# WHEELS is a folder of wheels to install aside. The results go to $OUT; docs/gpu.md says how the time is shared out.
# --tiny does all of it small on the CPU. $PYTHON is the interpreter, $TOTAL the seconds for everything. The dataset is a
# temporary file in the folder $TMPDIR.
set -u

TOTAL=${TOTAL:-570}
# shellcheck source=benchmarks/gpu_steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/gpu_steps.sh"

main() {
    cd "$ROOT" || exit 1
    begin
    local sizes=(--frame-size 96 --episodes 10000 --collect-seconds 175 --train-seconds 250 --plan-seconds 90)
    if [ "$SIZE" = tiny ]; then
        sizes=(--frame-size 32 --episodes 12 --collect-seconds 300 --train-seconds 300 --plan-seconds 300)
        sizes+=(--tasks 2 --steps 4 --train="--set training.batch_size=8 --set objective.sigreg.directions=32")
        sizes+=(--plan="--samples 8 --elites 2 --iterations 2")
    fi
    step train "$TOTAL" "$PYTHON" benchmarks/bench_within.py push-t --recipe medium "${sizes[@]}" --device "$DEVICE" \
        --json "$OUT/world-push-t-$KIND.json"
    end
}

logged "$OUT/$KIND-train.log" main
