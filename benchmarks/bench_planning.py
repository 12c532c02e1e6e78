"""Planning: our paths against the released arithmetic, from one rollout to the search for 50 environments.

    python benchmarks/bench_planning.py --threads 2 --json benchmarks/results/planning-cpu.json

Parts: (a) the costs of one iteration's candidates, (b) a solve for one environment, (c) for 50, (d) a plan from a
frame, against a world model of DINO-WM's size, and growth: how the time of (a) grows with its sizes.

Every path's costs are first compared with those of the reference in float64, for as many environments as are timed (two
on a CPU). A path that is wrong, prefers other candidates, or dies is left out with the reason, and the program ends
with status 1; a design of the kernels that does not take a model is left out too. Then all paths take turns in the same
run. `ratios` are medians over turns of a baseline's time as a multiple of the row's in the same turn. The baselines are
`lewm_kernels.rollout.reference` in our search, the same under torch.compile, and stable-worldmodel's search with its
own predictor; where that package is not installed, its rows say so. "lewm" is what a user of the library gets. On a
CUDA device each path but stable-worldmodel's is measured in each precision, as it is and under a CUDA graph: the
fastest form of each baseline is there.

"products" are no paths but only the matrix products that a rollout needs, once with PyTorch's plain tensors and on a
CPU once with oneDNN's. The shorter of their times, divided by a path's time, is the share of the machine's matrix rate
that the path reaches.

Solves begin with latents, and the encoder is a stage beside them. The stages "select" and "rollout" of a solve are
differences of two times; where noise would make one negative, it is 0. Peak memory is what a call allocates beyond its
inputs and the weights; of a solve, what its first two iterations do. Freed memory is kept for the next call, which
favours the baselines. Where a row has `measured_iterations` or `measured_candidates`, only these were timed, and the
time is multiplied up to all. `first_ms` is the first solve with a number of iterations, in which the library captures
its graph; the comparison before has compiled everything. `together` is the number of environments that the library
planned at a time, fewer than all where the memory did not suffice.

The JSON is written after every measurement. With --budget no measurement begins after this many seconds; the JSON names
those that are left out.

B environments.
"""

import argparse
import functools
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from _measure import best_device, keep_freed_memory, reason
from _planning_case import NOT_INSTALLED, Case, Row, build
from _planning_parts import growth, one_iteration, solve
from _planning_patches import against_patches
from _planning_paths import FAMILIES, PRECISIONS, REFUSED
from _report import write_report

MODELS = ("paper", "small")
PARTS = ("a", "b", "c", "d", "growth")
STAGES = {"a": "rollout", "b": "solve", "c": "solve", "d": "plan", "growth": "rollout"}
MANY = 50  # environments
# The most seconds of a solve that are timed. On a GPU the library's own solve gets more: a search that reaches its end
# shows how good its plans are.
SOLVE_SECONDS = {"cpu": 25.0, "cuda": 0.15}
LIBRARY_SECONDS = {"cpu": 25.0, "cuda": 1.0}

Measurement = tuple[str, int, Callable[[], list[Row]]]  # part, B, what gives its rows


def measurements(case: Case, options: argparse.Namespace) -> Iterator[Measurement]:
    """Everything to measure with one model, in the order of the options."""
    many = 3 if options.quick else MANY
    limits = (limits[case.device.type] for limits in (SOLVE_SECONDS, LIBRARY_SECONDS))
    longest, library = (0.0, 0.0) if options.quick else limits
    for part in options.parts:
        if part == "a":
            for B in (1,) if case.device.type == "cpu" else (1, many):
                yield part, B, functools.partial(one_iteration, case, B, options.profile)
        elif part in ("b", "c"):
            B = many if part == "c" else 1
            yield part, B, functools.partial(solve, case, part, B, longest, library)
        elif part == "growth":
            yield part, 1, functools.partial(growth, case)
        elif case.name != "small":  # whose frames have too few patches for a comparison
            yield part, 1, functools.partial(against_patches, case, "reference-compiled" in options.paths)


def run(case: Case, measurement: Measurement, late: str | None) -> list[Row]:
    """The rows of a measurement; where it is too late or something breaks, a row that says so."""
    part, B, measure = measurement
    sizes = {"environments": B, "samples": case.planning.planner.samples, "horizon": case.planning.horizon}
    about = {"part": part, "stage": STAGES[part], **sizes, "iterations": case.planning.planner.iterations}
    if late:
        return case.skipped(about, {"everything": late})
    try:
        with torch.inference_mode():
            return measure()
    except Exception as error:  # the measurements after it are still wanted
        return case.skipped(about, {"everything": reason(error)})


def main() -> None:
    """Parses the command line, measures, writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write the results")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="the parts, in this order")
    parser.add_argument(
        "--paths",
        nargs="+",
        choices=FAMILIES,
        default=[name for name in FAMILIES if name != "reference-compiled"],
        help="default: all but reference-compiled, which waits for a compiler",
    )
    parser.add_argument(
        "--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS), help="on a CUDA device"
    )
    parser.add_argument(
        "--without", type=Path, help='a file of paths to leave out, a line each: "triton-whole bf16: the reason"'
    )
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[torch.get_num_threads()])
    parser.add_argument("--device", default="auto", help="auto, or a torch device")
    parser.add_argument("--budget", type=float, default=float("inf"), help="seconds after which nothing more begins")
    parser.add_argument("--profile", type=Path, help="a file for the profile of one call of each path of part a")
    parser.add_argument("--quick", action="store_true", help="a tiny model and few turns: does it run at all?")
    options = parser.parse_args()
    if options.quick:
        options.models, options.turns = ["tiny"], 3
    began = time.monotonic()
    device = torch.device(options.device) if options.device != "auto" else best_device()
    keep_freed_memory()
    lines = options.without.read_text().splitlines() if options.without else []
    left_out = dict(line.split(": ", 1) for line in lines)
    rows: list[Row] = []
    for threads in options.threads:
        torch.set_num_threads(threads)
        for name in options.models:
            case = build(name, device, options.turns, options.paths, options.precisions, left_out)
            for measurement in measurements(case, options):
                is_late = time.monotonic() - began > options.budget
                rows += run(case, measurement, f"the budget of {options.budget:g} s was spent" if is_late else None)
                if options.json:
                    write_report(options.json, "planning", rows)
    if any("skipped" in row and not row["skipped"].startswith(("the budget", REFUSED, NOT_INSTALLED)) for row in rows):
        sys.exit("something was left out: see what is skipped")


if __name__ == "__main__":
    main()
