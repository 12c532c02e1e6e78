"""The mean of SIGReg over all directions beside a sketch of 1,024: from how many embeddings on is the sketch faster?

    python benchmarks/bench_sigreg_exact.py --json benchmarks/results/sigreg-exact-cpu.json

Forward and backward of both operators' fast paths take turns in one run. Before, each is compared with float64: the
sketch with its definition, the mean over all directions with itself. If one is wrong, nothing is timed. The ratio is
the median over turns of the sketch's time as a multiple of the path's in the same turn. On a CPU there is one thread,
and its processor time counts: on a busy machine the short calls are seldom interrupted and the long ones always.

Shapes: T time steps, N embeddings, D latent width, M directions, K knots.
"""

import argparse
import functools
import sys
import time
from pathlib import Path

import torch
from _measure import best_device, in_turns, keep_freed_memory, median_ratio, peak_bytes, spread
from _report import write_report
from bench_sigreg import call, definition_in_float64, exact, exact_in_float64, examine, inputs, ours

M, K = 1024, 17
SHAPES = [(2, 128, 64), *((4, N, 192) for N in (64, 128, 256, 512, 1024, 2048, 4096))]
QUICK = [(2, 8, 64), (2, 16, 64)]


def measure(T: int, N: int, D: int, device: torch.device, turns: int) -> list[dict]:
    """Rows of one shape.

    Raises:
        SystemExit: If a path is wrong.
    """
    args = inputs((T, N, D, M, K), device)
    truths = {"sketch": definition_in_float64(*args), "exact": exact_in_float64(args[0], args[2])}
    paths = {"sketch": ours("torch"), "exact": exact}
    errors = {}
    for name, path in paths.items():
        wrong, errors[name] = examine(path, args, truths[name])
        if wrong:
            sys.exit(f"{name} at {T}, {N}, {D}: {wrong}")
    calls = {name: functools.partial(call, path, args, with_gradient=True) for name, path in paths.items()}
    peak = {}
    for name, one in calls.items():
        args[0].grad = None  # else its release would count
        peak[name] = peak_bytes(one, device)
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    times = in_turns(calls, device, turns, warm_up=2, clock=clock)
    rows = []
    for name, own in times.items():
        row = {"T": T, "N": N, "D": D, "M": M, "K": K, "path": name, "device": str(device)}
        row |= {**spread(own), "ratio": median_ratio(times["sketch"], own)}
        value, gradient = (float(f"{error:.3g}") for error in errors[name])
        rows.append(row | {"peak_extra_bytes": peak[name], "error_value": value, "error_gradient": gradient})
        print(f"{T}, {N}, {D}  {name:6}  {row['median_ms']:9.3f} ms  x{row['ratio']:g}", flush=True)
    return rows


def main() -> None:
    """Parses the command line, measures, writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write the results")
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--device", default="auto", help="auto, or a torch device")
    parser.add_argument("--quick", action="store_true", help="tiny shapes and few turns: does it run at all?")
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    device = torch.device(options.device) if options.device != "auto" else best_device()
    rows: list[dict] = []
    for shape in QUICK if options.quick else SHAPES:
        rows += measure(*shape, device, 3 if options.quick else options.turns)
        if options.json:
            write_report(options.json, "sigreg-exact", rows)


if __name__ == "__main__":
    main()
