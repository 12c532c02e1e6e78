"""Compiles the Triton kernels that the other benchmarks launch, on all cores at once, into Triton's shared cache.

    python benchmarks/warm_kernels.py --failed failed.txt

Each case runs once, in a process of its own, so a case that dies stops no other. `--failed` lists the paths that died,
as soon as they do, in the form that `bench_planning.py --without` takes. A path that ran out of time, or of the memory
that the cases share, is not listed: it may well run alone. A design that does not support a precision has nothing to
compile. Without a CUDA device nothing is done.
"""

import argparse
import functools
import itertools
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import torch
from _planning_case import build
from _planning_paths import PRECISIONS, REFUSED, with_iterations
from bench_planning import MANY
from bench_sigreg import SHAPES, call, directions_inside, inputs, ours

from lewm_kernels.rollout import tiles

SECONDS = 90  # the most seconds of a case
LARGE = f", {MANY} environments"  # the end of the names of cases that take gigabytes of the device's memory each
LARGE_TOGETHER = 4
OUT_OF_TIME, OUT_OF_MEMORY = f"not done after {SECONDS} s", "it ran out of memory"


def cases() -> dict[str, Callable[[], object]]:
    """The cases by name: first the fastest precision, and the most environments, whose kernels compile slowest.

    They are every design of the rollout's kernels, the library's own path, and SIGReg.
    """
    found: dict[str, Callable[[], object]] = {}
    titles = [*(f"triton-{design}" for design in tiles.DESIGNS), "lewm"]
    for precision, B, title in itertools.product(reversed(PRECISIONS), (MANY, 1), titles):
        path = f"{title} {precision}"
        found[f"{path}, {B} environments"] = functools.partial(_plan, path, B)
    for shape in ("paper", "wide"):
        found[f"sigreg, {shape}"] = functools.partial(_sigreg, shape)
    return found


def main() -> None:
    """Runs one case, or all of them in processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", help="run this one here")
    parser.add_argument("--failed", type=Path, required=True, help="file for the names of paths that died")
    options = parser.parse_args()
    options.failed.write_text("")
    if not torch.cuda.is_available():
        print("no CUDA device: there is nothing to compile for")
        return
    if options.case:
        cases()[options.case]()
        torch.cuda.synchronize()
        return
    began, count = time.monotonic(), 0
    for name, problem in problems(list(cases())):
        count += 1
        print(f"{name}: {problem}", flush=True)
        if problem not in (OUT_OF_TIME, OUT_OF_MEMORY) and not name.startswith("sigreg"):
            with options.failed.open("a") as file:
                file.write(f"{name.partition(',')[0]}: {problem}\n")
    print(f"{len(cases())} cases in {time.monotonic() - began:.0f} s, {count} failed")
    sys.exit(bool(count))


def problems(names: list[str]) -> Iterator[tuple[str, str]]:
    """Runs the cases, few of the large ones at a time; gives each that fails as soon as it does, with the reason."""
    others = max(1, (os.cpu_count() or 1) - LARGE_TOGETHER)
    with ThreadPoolExecutor(LARGE_TOGETHER) as large, ThreadPoolExecutor(others) as small:
        running = {(large if name.endswith(LARGE) else small).submit(_apart, name): name for name in names}
        for done in as_completed(running):
            problem = done.result()
            if problem:
                yield running[done], problem


def _apart(name: str) -> str | None:
    """Runs a case in a process of its own; returns the reason of its death in one line, or None."""
    command = [sys.executable, __file__, "--failed", os.devnull, "--case", name]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # there is a process a core
    try:
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=SECONDS, env=environment, check=False)
    except subprocess.TimeoutExpired:
        return OUT_OF_TIME
    if done.returncode == 0:
        return None
    raised = re.findall(r"^[\w.]+: .*", done.stderr, re.MULTILINE)  # CUDA's errors have more lines, of advice
    last = raised[-1] if raised else f"exit status {done.returncode}"
    if "out of memory" in last or "ALLOC_FAILED" in last:
        return OUT_OF_MEMORY
    return None if last.startswith(REFUSED) else last


@torch.inference_mode()
def _plan(path: str, B: int) -> None:
    title, precision = path.split()
    case = build("paper", torch.device("cuda"), 1, [title.partition("-")[0]], [precision], {})
    latents, goals, candidates = case.inputs(B, case.planning.planner.samples, case.planning.horizon)
    case.paths[path].costs(latents, goals, candidates)
    case.paths[path].solve(latents, goals, with_iterations(case.planning, 2))


def _sigreg(shape: str) -> None:
    args = inputs(SHAPES[shape], torch.device("cuda"))
    for path in (ours("triton"), directions_inside):
        call(path, args, with_gradient=True)


if __name__ == "__main__":
    main()
