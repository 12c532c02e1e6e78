"""Compiles the Triton kernels that the other benchmarks launch, on all cores at once, into Triton's shared cache.

    python benchmarks/warm_kernels.py --failed failed.txt

Each case runs once, in a process of its own: what one dies of stops no other, and `--failed` lists the paths that died,
as `bench_planning.py --without` takes them. A design that does not take a precision has nothing to compile. Without a
CUDA device nothing is done.
"""

import argparse
import functools
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from _planning_case import build
from _planning_paths import PRECISIONS, REFUSED
from bench_planning import MANY
from bench_sigreg import SHAPES, call, directions_inside, inputs, ours

from lewm_kernels.rollout import tiles

SECONDS = 90  # after which a case counts as dead


def cases() -> dict[str, Callable[[], object]]:
    """What to run, by name, the slowest to compile first. Of the rollout, every design for one environment and many."""
    found: dict[str, Callable[[], object]] = {}
    titles = [*(f"triton-{design}" for design in tiles.DESIGNS), "lewm"]
    for precision, B, title in itertools.product(PRECISIONS, (1, MANY), titles):
        path = f"{title} {precision}"
        found[f"{path}, {B} environments"] = functools.partial(_plan, path, B)
    for shape in ("paper", "wide"):
        found[f"sigreg, {shape}"] = functools.partial(_sigreg, shape)
    return found


def main() -> None:
    """Runs one case, or all of them in processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", help="run this one here")
    parser.add_argument("--failed", type=Path, required=True, help="file for the paths of the rollout that died")
    options = parser.parse_args()
    options.failed.write_text("")
    if not torch.cuda.is_available():
        print("no CUDA device: there is nothing to compile for")
        return
    if options.case:
        cases()[options.case]()
        torch.cuda.synchronize()
        return
    began = time.monotonic()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        problems = dict(zip(cases(), pool.map(_apart, cases()), strict=True))
    died = {name: problem for name, problem in problems.items() if problem}
    for name, problem in died.items():
        print(f"{name}: {problem}")
    lines = {name.partition(",")[0]: problem for name, problem in died.items() if not name.startswith("sigreg")}
    options.failed.write_text("".join(f"{path}: {problem}\n" for path, problem in lines.items()))
    print(f"{len(problems)} cases in {time.monotonic() - began:.0f} s, {len(died)} failed")
    sys.exit(bool(died))


def _apart(name: str) -> str | None:
    """Runs a case in a process of its own; what it died of, in one line."""
    command = [sys.executable, __file__, "--failed", os.devnull, "--case", name]
    try:
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"not done after {SECONDS} s"
    if done.returncode == 0:
        return None
    last = next(reversed(done.stderr.strip().splitlines()), f"exit status {done.returncode}")
    return None if last.startswith(REFUSED) else last


@torch.inference_mode()
def _plan(path: str, B: int) -> None:
    title, precision = path.split()
    case = build("paper", torch.device("cuda"), 1, [title.partition("-")[0]], [precision], {})
    latents, goals, candidates = case.inputs(B, case.planning.samples, case.planning.horizon)
    case.paths[path].costs(latents, goals, candidates)
    case.paths[path].solve(latents, goals, case.planning.model_copy(update={"iterations": 2}))


def _sigreg(shape: str) -> None:
    args = inputs(SHAPES[shape], torch.device("cuda"))
    for path in (ours("triton"), directions_inside):
        call(path, args, with_gradient=True)


if __name__ == "__main__":
    main()
