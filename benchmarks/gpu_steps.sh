# shellcheck shell=bash
# What gpu_pass.sh and gpu_train.sh share: where things are, and steps with limits. They source it with
#   TOTAL   seconds for everything: no step runs on beyond them
#   WHEELS  folder of wheels to install aside, or empty
#   SIZE    full, or tiny: everything small, on the CPU, nothing compiled

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PYTHON=${PYTHON:-python3}
OUT=${OUT:-$ROOT/.lewm/gpu}
mkdir -p "$OUT" || exit 1
OUT=$(cd "$OUT" && pwd)
[ -z "$WHEELS" ] || WHEELS=$(cd "$WHEELS" && pwd) || exit 1
WORK=$(mktemp -d) || exit 1
trap 'rm -rf "$WORK"' EXIT

export PYTHONPATH=$WORK/site:$ROOT:$ROOT/kernels:$ROOT/data${PYTHONPATH:+:$PYTHONPATH}
export PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 MPLBACKEND=agg LEWM_HOME=$WORK/home
export TRITON_CACHE_DIR=$WORK/triton TORCHINDUCTOR_CACHE_DIR=$WORK/inductor # shared by all steps
# shellcheck disable=SC2034 # they are for the scripts that source this
DEVICE=auto QUICK=()
if [ "$SIZE" = tiny ]; then
    # shellcheck disable=SC2034
    DEVICE=cpu QUICK=(--quick)
    export TORCHDYNAMO_DISABLE=1 OMP_NUM_THREADS=1
fi

FAILED=0
# step NAME LIMIT COMMAND...: runs it for at most LIMIT seconds, or what is left of TOTAL; a failure stops nothing.
step() {
    local name=$1 limit=$2 left=$((TOTAL - SECONDS))
    shift 2
    if [ "$left" -le 0 ]; then
        echo "### $SECONDS s: $name is left out, the $TOTAL s are over"
        FAILED=$((FAILED + 1))
        return
    fi
    [ "$limit" -le "$left" ] || limit=$left
    echo "### $SECONDS s: $name, at most $limit s"
    timeout -k 10 "$limit" "$@"
    local status=$?
    [ "$status" = 0 ] || {
        FAILED=$((FAILED + 1))
        echo "### $SECONDS s: $name ended with status $status$([ "$status" != 124 ] || echo ", its time was over")"
    }
}

# What the machine is, and the wheels.
begin() {
    if [ -n "$WHEELS" ]; then
        step wheels 60 "$PYTHON" -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir \
            --disable-pip-version-check --target "$WORK/site" "$WHEELS"/*.whl
    fi
    if command -v nvidia-smi > /dev/null; then
        step gpu 20 nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.mem --format=csv
    fi
    step versions 30 "$PYTHON" -c '
import importlib, os, platform
from importlib.metadata import PackageNotFoundError, version
print("python", platform.python_version(), "on", os.cpu_count(), "cores")
for name in ("torch", "triton", "numpy", "pydantic", "gymnasium", "pymunk", "beartype", "jaxtyping", "pytest"):
    try:
        print(name, version(name))
    except PackageNotFoundError:
        print(name, "is not there")
'
}

# The last line, and the status: whether every step went well.
end() {
    echo "### $SECONDS s: done, $FAILED steps failed; results are in $OUT"
    [ "$FAILED" = 0 ]
}
