# shellcheck shell=bash
# What gpu_pass.sh and gpu_train.sh share: their arguments, where things are, steps with limits, and the log. They source
# it with $TOTAL, the seconds for everything. It sets
#   SIZE    full, or tiny: everything small, on the CPU, torch.compile off
#   KIND    gpu or tiny, a part of each result's name
#   WHEELS  folder of wheels to install aside, or empty

# Ends the script before it has begun: what was expected, and what to do.
refuse() {
    printf '%s\n' "$@" >&2
    exit 2
}

SIZE=full WHEELS=
for argument in "$@"; do
    case $argument in
        --tiny) SIZE=tiny ;;
        --help) # the comment at the beginning of the script
            sed -n '2,/^set /s/^# \{0,1\}//p' "$0"
            exit
            ;;
        -*) refuse "expected --tiny, --help or a folder of wheels, got $argument" "See bash $0 --help." ;;
        *)
            [ -z "$WHEELS" ] || refuse "expected one folder of wheels, got $WHEELS and $argument" "See bash $0 --help."
            [ -n "$(compgen -G "$argument/*.whl")" ] || refuse "expected a folder with wheels, got $argument" \
                'Run "make gpu-wheels" where there is a network, or leave the folder out where nothing is missing.'
            WHEELS=$(cd "$argument" && pwd) || exit 1
            ;;
    esac
done

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PYTHON=${PYTHON:-python3}
# shellcheck disable=SC2034 # they are for the scripts that source this
if [ "$SIZE" = tiny ]; then
    KIND=tiny DEVICE=cpu QUICK=(--quick) OUT=${OUT:-$ROOT/.lewm/gpu-tiny}
    export TORCHDYNAMO_DISABLE=1 OMP_NUM_THREADS=1
else
    KIND=gpu DEVICE=auto QUICK=() OUT=${OUT:-$ROOT/.lewm/gpu}
    problem=$("$PYTHON" -c '
import sys, torch
if not torch.cuda.is_available():
    sys.exit(f"PyTorch {torch.__version__} finds none")
' 2>&1) || refuse "expected a CUDA device: ${problem##*$'\n'}" \
        "--tiny runs everything small on the CPU. \$PYTHON is the interpreter, here $PYTHON."
fi
mkdir -p "$OUT" || exit 1
OUT=$(cd "$OUT" && pwd)
WORK=$(mktemp -d) || exit 1
trap 'rm -rf "$WORK"' EXIT

export PYTHONPATH=$WORK/site:$ROOT:$ROOT/kernels:$ROOT/data${PYTHONPATH:+:$PYTHONPATH}
export TMPDIR=$WORK # a dataset is deleted even if the step that collected it was killed
export PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 MPLBACKEND=agg LEWM_HOME=$WORK/home
export TRITON_CACHE_DIR=$WORK/triton TORCHINDUCTOR_CACHE_DIR=$WORK/inductor # shared by all steps
export KINETO_LOG_LEVEL=9                                                   # no lines of the profiler in the log

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
    timeout -k 10 "$limit" "$@" &
    wait $! # unlike a command in the foreground, a signal ends it
    local status=$?
    [ "$status" = 0 ] || {
        FAILED=$((FAILED + 1))
        echo "### $SECONDS s: $name ended with status $status$([ "$status" != 124 ] || echo ", its time was over")"
    }
}

# What the machine is, and the wheels.
begin() {
    [ "$SIZE" = full ] || echo "tiny: torch.compile is off, so that the paths named compiled run as plain PyTorch"
    [ -z "$WHEELS" ] ||
        step wheels 60 "$PYTHON" "$ROOT/benchmarks/install_wheels.py" --target "$WORK/site" "$WHEELS"/*.whl
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

# Ends every command that runs, and the script.
interrupted() {
    trap '' INT TERM HUP
    local running
    running=$(jobs -p)
    # shellcheck disable=SC2086 # they are numbers
    [ -z "$running" ] || {
        kill $running
        wait $running
    }
    echo "### $SECONDS s: interrupted; what was measured is in $OUT"
    exit 130
}

# logged FILE COMMAND...: runs it, ends the script with its status, and writes all that is printed to a file too.
logged() {
    exec > >(trap '' INT TERM HUP && exec tee "$1") 2>&1 # so that it has the last words too
    TEE=$!
    trap 'rm -rf "$WORK"; exec >&- 2>&-; wait "$TEE"' EXIT
    trap interrupted INT TERM HUP
    "${@:2}"
    exit
}
