"""SIGReg: our paths against the definition, forward and with its gradient.

    python benchmarks/bench_sigreg.py --threads 1 2 --json benchmarks/results/sigreg-cpu.json

Every path is first compared with float64. One that is wrong or dies is left out with the reason, and the program ends
with status 1. Then all paths take turns in the same run, so that a busy machine is busy for all of them. Speed-ups are
medians over turns of the ratio to the definition's time in the same turn; on a CUDA device the definition is there
under a CUDA graph too, with --compile in four forms, and the table has the ratio to the fastest beside it. "exact" is
`sigreg_exact`, the mean over all directions, which random directions estimate; it is compared with itself in float64,
and bench_sigreg_exact.py has it for more numbers of embeddings.
Peak memory is what a call allocates beyond its inputs: on the CPU the running sum of the allocator's events in
torch.profiler (it sees every tensor, not the scratch space of the BLAS), on CUDA the caching allocator's own peak. The
JSON is written after every shape; with --budget no shape begins after so many seconds.

Shapes: T time steps, N embeddings, D latent width, M directions, K knots.
"""

import argparse
import functools
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from _measure import best_device, captured, in_turns, peak_bytes, reason, spread
from _report import write_report
from torch import Tensor

import lewm_kernels
from lewm_kernels.sigreg import reference

SHAPES = {
    "paper": (4, 128, 192, 1024, 17),
    "small": (4, 64, 32, 256, 17),
    "large": (4, 4096, 192, 4096, 17),
    "wide": (2, 1024, 1024, 1024, 17),
    "tiny": (2, 16, 8, 32, 17),
}
WRONG = 1e-5  # a relative error in float32 that no rounding explains

Path_ = Callable[[Tensor, Tensor, Tensor], Tensor]


def inputs(shape: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings (T, N, D) that require a gradient, directions (D, M), knots (K,)."""
    T, N, D, M, K = shape
    z = lewm_kernels.normal(0, torch.tensor([[0, 0, 0]]), T * N * D).view(T, N, D)
    z = (z + 0.3).to(device).requires_grad_()
    return z, lewm_kernels.directions(0, 0, D, M, device), torch.linspace(0, 3, K)  # the host reads the knots


def definition_in_float64(z: Tensor, directions: Tensor, knots: Tensor) -> tuple[Tensor, Tensor]:
    """Value (T,) and gradient (T, N, D) of the definition in float64, a few directions at a time."""
    z = z.detach().double().requires_grad_()
    knots = knots.to(z.device)
    value, M = torch.zeros(len(z), dtype=torch.float64, device=z.device), directions.shape[1]
    at_a_time = max(1, 2**24 // (z.shape[0] * z.shape[1] * len(knots)))
    for some in directions.double().split(at_a_time, dim=1):
        part = reference.sigreg(z, some, knots.double()) * (some.shape[1] / M)
        part.sum().backward()
        value += part.detach()
    return value, z.grad


def exact(z: Tensor, _: Tensor, knots: Tensor) -> Tensor:
    """The mean over all directions."""
    return lewm_kernels.sigreg_exact(z, knots)


def exact_in_float64(z: Tensor, knots: Tensor) -> tuple[Tensor, Tensor]:
    """Value (T,) and gradient (T, N, D) of the mean over all directions."""
    z = z.detach().double().requires_grad_()
    value = lewm_kernels.sigreg_exact(z, knots)
    value.sum().backward()
    return value.detach(), z.grad


def ours(backend: str) -> Path_:
    """The operator on one of its backends."""
    return functools.partial(lewm_kernels.sigreg, backend=backend)


def directions_inside(z: Tensor, directions: Tensor, knots: Tensor) -> Tensor:
    """Triton kernels that draw the directions of `inputs` themselves."""
    return lewm_kernels.sigreg(z, lewm_kernels.RandomDirections(0, 0, directions.shape[1]), knots, backend="triton")


def directions_drawn(z: Tensor, directions: Tensor, knots: Tensor) -> Tensor:
    """Triton kernels, and the matrix drawn in PyTorch for each call: the baseline for drawing inside the kernels."""
    drawn = lewm_kernels.directions(0, 0, *directions.shape, z.device)
    return lewm_kernels.sigreg(z, drawn, knots, backend="triton")


def with_knots_there(path: Path_) -> Path_:
    """Puts the definition's knots on the device of the embeddings beforehand, so that no copy of them is timed."""
    there = functools.cache(torch.Tensor.to)
    return lambda z, directions, knots: path(z, directions, there(knots, z.device))


def call(path: Path_, args: tuple[Tensor, Tensor, Tensor], with_gradient: bool) -> Tensor:
    """The value, and the gradient left in `z.grad` if asked for."""
    args[0].grad = None
    if not with_gradient:
        with torch.no_grad():
            return path(*args)
    value = path(*args)
    value.sum().backward()
    return value.detach()


def errors(path: Path_, args: tuple[Tensor, Tensor, Tensor], truth: tuple[Tensor, Tensor]) -> list[float]:
    """Relative errors of value and gradient."""
    got = (call(path, args, with_gradient=True), args[0].grad)
    return [float((a.double() - b).norm() / b.norm()) for a, b in zip(got, truth, strict=True)]


def too_large(shape: tuple[int, ...], device: torch.device) -> str | None:
    """The reason why the definition cannot run in eager mode, or None."""
    T, N, _, M, K = shape
    need = 5 * 4 * T * N * M * K  # it holds about five tensors of every knot at a time
    if device.type == "cuda":
        available = torch.cuda.mem_get_info(device)[0]
    elif hasattr(os, "sysconf"):
        available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    else:
        return None
    return f"needs about {need / 2**30:.0f} GiB" if need > 0.8 * available else None


def measure(name: str, paths: dict[str, Path_], device: torch.device, turns: int) -> list[dict]:
    """Rows of one shape."""
    shape, args = SHAPES[name], inputs(SHAPES[name], device)
    z, _, knots = args
    paths = paths | {"exact": exact}
    needs = too_large(shape, device)
    faults = {key: needs for key in paths if needs and key in ("definition", "definition-graph")}
    truth, truth_of_exact = definition_in_float64(*args), exact_in_float64(z, knots)
    error = {}
    for key, path in paths.items():
        if key not in faults:
            wrong, error[key] = examine(path, args, truth_of_exact if path is exact else truth)
            if wrong:
                faults[key] = wrong
    run = {key: path for key, path in paths.items() if key not in faults}
    rows = []
    for with_gradient in (False, True):
        calls = {key: functools.partial(call, path, args, with_gradient) for key, path in run.items()}
        peak = {}
        for key, one in list(calls.items()):
            args[0].grad = None  # else its release would count
            try:
                peak[key] = peak_bytes(one, device)
                calls[key] = captured(one) if key.endswith("-graph") else one
            except Exception as failure:  # such as a graph that cannot be captured; the others are still to be measured
                faults[key] = reason(failure)
                del run[key], calls[key]
        times = in_turns(calls, device, turns, warm_up=2)
        for key in paths:
            row = {
                "shape": name,
                **dict(zip("TNDMK", shape, strict=True)),
                "pass": "forward+backward" if with_gradient else "forward",
                "path": key,
                "device": str(device),
                "threads": torch.get_num_threads(),
            }
            rows.append(row)
            if key in faults:
                row["skipped"] = faults[key]
                continue
            own = times[key]
            row |= {
                **spread(own),
                "peak_extra_bytes": peak[key],
                "error_value": float(f"{error[key][0]:.3g}"),
                "error_gradient": float(f"{error[key][1]:.3g}"),
            }
            if "definition" in run:
                ratios = [a / b for a, b in zip(times["definition"], own, strict=True)]
                row["speedup"] = round(statistics.median(ratios), 2)
            print(describe(row), flush=True)
    return rows


def examine(
    path: Path_, args: tuple[Tensor, Tensor, Tensor], truth: tuple[Tensor, Tensor]
) -> tuple[str | None, list[float]]:
    """The fault of a path, or None, and its errors."""
    try:
        found = errors(path, args, truth)
    except Exception as failure:  # whatever a path dies of, the others are still to be measured
        return reason(failure), []
    wrong = f"relative errors {found[0]:.2g} (value) and {found[1]:.2g} (gradient)"
    return (None if max(found) < WRONG else wrong), found


def describe(row: dict) -> str:
    """One line for a reader."""
    peak = row["peak_extra_bytes"]
    return (
        f"{row['threads']} threads {row['shape']:6} {row['pass']:16} {row['path']:25} {row['median_ms']:9.3f} ms "
        f"({row['p20_ms']:.3f} to {row['p80_ms']:.3f})  x{row.get('speedup', 0):<6g} "
        f"{'?' if peak is None else f'{peak / 2**20:.1f}'} MiB  "
        f"errors {row['error_value']:.1e} {row['error_gradient']:.1e}"
    )


def main() -> None:
    """Parses the command line, measures, writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write the results")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["paper", "small"])
    parser.add_argument("--turns", type=int, default=31)
    parser.add_argument("--threads", type=int, nargs="+", default=[torch.get_num_threads()])
    parser.add_argument("--device", default="auto", help="auto, or a torch device")
    parser.add_argument("--compile", action="store_true", help="add the definition and ours under torch.compile")
    parser.add_argument("--budget", type=float, default=float("inf"), help="seconds after which no shape begins")
    parser.add_argument("--quick", action="store_true", help="a tiny shape and few turns: does it run at all?")
    options = parser.parse_args()
    if options.quick:
        options.shapes, options.turns = ["tiny"], 3
    device = torch.device(options.device) if options.device != "auto" else best_device()
    began = time.monotonic()
    rows: list[dict] = []
    for threads in options.threads:
        torch.set_num_threads(threads)
        for name in options.shapes:
            if time.monotonic() - began > options.budget:
                late = f"the budget of {options.budget:g} s was spent"
                rows.append({"shape": name, **dict(zip("TNDMK", SHAPES[name], strict=True)), "pass": "both"})
                rows[-1] |= {"path": "everything", "device": str(device), "threads": threads, "skipped": late}
            else:
                rows += measure(name, all_paths(device, options.compile), device, options.turns)
            if options.json:
                write_report(options.json, "sigreg", rows)
    expected = ("the budget", "needs about")
    if any("skipped" in row and not row["skipped"].startswith(expected) for row in rows):
        sys.exit("something was left out: see what is skipped")


def all_paths(device: torch.device, with_compiler: bool) -> dict[str, Path_]:
    """All paths that run on the device, the definition first."""
    definition = with_knots_there(reference.sigreg)
    paths: dict[str, Path_] = {"definition": definition, "torch": ours("torch")}
    if with_compiler:
        fused = with_knots_there(torch.compile(reference.sigreg, dynamic=False))
        paths |= {"definition-compiled": fused, "compiled": ours("compiled")}
    if device.type == "cuda":
        paths["triton"] = ours("triton")
        paths |= {f"{name}-graph": path for name, path in paths.items() if name != "compiled"}
        paths |= {"triton, directions inside": directions_inside, "triton, directions drawn": directions_drawn}
    return paths


if __name__ == "__main__":
    main()
