"""Nanoseconds a normal number: the counter-based generator against torch.randn, in turns.

    python benchmarks/bench_philox.py --threads 1 2 --json benchmarks/results/philox-cpu.json

The shape is that of a planner's iteration for B environments: a row of 300 candidates x 50 numbers for each. The
program stops if a row is not the same alone, or the moments are not those of a normal distribution.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from _report import write_report
from torch import Tensor

import lewm_kernels

COUNT = 15_000


def check(x: Tensor, streams: Tensor) -> None:
    """Stops the program if `x` is wrong."""
    if not torch.equal(lewm_kernels.normal(0, streams[-1:], x.shape[1])[0], x[-1]):
        sys.exit("a row of normal() is not the same alone")
    spread = 5 / x.numel() ** 0.5
    if abs(x.mean()) > spread or abs(x.square().mean() - 1) > 1.5 * spread:
        sys.exit("normal() is not standard normal")


def seconds(draw: Callable[[], Tensor], device: torch.device) -> float:
    """Time of one call."""
    begin = time.perf_counter()
    draw()
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter() - begin


def measure(B: int, count: int, device: torch.device, turns: int) -> list[dict]:
    """The rows for one number of environments."""
    streams = torch.stack([torch.arange(B), torch.zeros(B), torch.ones(B)], dim=1).long().to(device)  # (B, 3)
    check(lewm_kernels.normal(0, streams, count), streams)
    paths = {
        "lewm_kernels.normal": lambda: lewm_kernels.normal(0, streams, count),
        "torch.randn": lambda: torch.randn(B, count, device=device),
    }
    times = {key: [] for key in paths}
    for _ in range(turns + 2):
        for key, draw in paths.items():
            times[key].append(seconds(draw, device))
    rows = []
    for key in paths:
        own = [1e9 * t / (B * count) for t in times[key][2:]]  # two turns to warm up
        deciles = statistics.quantiles(own, n=10)
        rows.append(
            {
                "B": B,
                "count": count,
                "path": key,
                "device": str(device),
                "threads": torch.get_num_threads(),
                "turns": turns,
                "ns_per_number": round(statistics.median(own), 3),
                "p20_ns": round(deciles[1], 3),
                "p80_ns": round(deciles[7], 3),
            }
        )
        print(f"{torch.get_num_threads()} threads B {B:4} {key:20} {rows[-1]['ns_per_number']:7.2f} ns a number")
    return rows


def main() -> None:
    """Parses the command line, measures, writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write the results")
    parser.add_argument("--turns", type=int, default=31)
    parser.add_argument("--threads", type=int, nargs="+", default=[torch.get_num_threads()])
    parser.add_argument("--device", default="auto", help="auto, or a torch device")
    parser.add_argument("--quick", action="store_true", help="few numbers and turns: does it run at all?")
    options = parser.parse_args()
    accelerator = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    device = accelerator if options.device == "auto" else torch.device(options.device)
    rows = []
    for threads in options.threads:
        torch.set_num_threads(threads)
        if options.quick:
            rows += measure(2, 1_000, device, turns=3)
        else:
            rows += [row for B in (1, 50, 200) for row in measure(B, COUNT, device, options.turns)]
    if options.json:
        write_report(options.json, "philox", rows)


if __name__ == "__main__":
    main()
