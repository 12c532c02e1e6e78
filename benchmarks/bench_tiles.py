"""Times of the designs of the rollout's Triton kernels, and of other tiles than the table's: for a CUDA device.

    python benchmarks/bench_tiles.py --json benchmarks/results/tiles-gpu.json

It times a call of the paper's model in bfloat16, as a CUDA graph. First every design runs for growing numbers of
candidates: `design_for` of lewm_kernels/rollout/tiles.py has to know where the fastest design changes. Then one tile at
a time replaces the table's. All variants for a number of candidates take turns. Each is compiled first, in a process of
its own, and compared with the definition in float64; a variant that cannot be compiled or is wrong is left out with the
reason.
"""

import argparse
import functools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from _measure import best_device, captured, in_turns, reason, spread
from _planning_case import Case, build
from _report import write_report
from torch import Tensor

from lewm.recipes import paper
from lewm_kernels.rollout import Packed, reference, rollout
from lewm_kernels.rollout.tiles import DESIGNS, Tile

CONFIG = paper("two-room", 2)
HORIZON, HIDDEN = CONFIG.planning.horizon, CONFIG.model.predictor.mlp
CANDIDATES = tuple(environments * CONFIG.planning.planner.samples for environments in (1, 4, 16, 50))
FEW, MANY, TURNS = CANDIDATES[0], CANDIDATES[-1], 7
CHECKED = 16  # candidates that are compared with the definition, the last ones
SECONDS = 60  # the most seconds for compiling one variant
TOGETHER = 8  # processes that compile; each fills some gigabytes of the device
WRONG = 0.1  # a relative error that no rounding to bfloat16 explains

# By design and function of the table: the tiles that replace the table's. The table's own tile is in the designs' rows.
TILES = {
    ("whole", "whole_attention_tile"): [Tile(64, 64, 1, 4), Tile(64, 16, 1, 4), Tile(128, 32, 1, 8)],
    ("whole", "whole_mlp_tile"): [
        Tile(rows, step, stages, warps, share=HIDDEN)
        for rows, step, stages, warps in ((64, 64, 2, 4), (64, 32, 2, 4), (128, 32, 3, 8), (128, 64, 2, 8))
    ],
    ("layerwise", "enter_tile"): [Tile(4, 0, 1, 4), Tile(16, 0, 1, 4), Tile(16, 0, 1, 8)],
    ("layerwise", "attend_tile"): [Tile(16, 0, 1, 4), Tile(64, 0, 1, 4)],
    ("layerwise", "gelu_linear_tile"): [Tile(64, 64, 1, 4), Tile(64, 128, 1, 4), Tile(128, 128, 1, 8)],
}
Row = dict[str, Any]


class Variant:
    """A design, perhaps with another tile."""

    def __init__(self, design: str, function: str | None = None, tile: Tile | None = None) -> None:
        self.design, self.function, self.tile = design, function, tile
        self.name = design if tile is None else f"{design} {function} {tile}"

    def call(self, packed: Packed, latents: Tensor, candidates: Tensor) -> Tensor:
        """The rollout with this tile in place of the table's."""
        with ExitStack() as stack:
            if self.function is not None:
                where = f"lewm_kernels.rollout.{self.design}.{self.function}"
                stack.enter_context(patch(where, lambda *sizes: self.tile))
            return rollout(packed, latents, candidates, backend="triton", design=self.design)


def variants(candidates: int) -> list[Variant]:
    """The variants for a number of candidates."""
    found = [Variant(design) for design in DESIGNS]
    for (design, function), others in TILES.items():
        if candidates == MANY or (candidates == FEW and design == "layerwise"):
            found += [Variant(design, function, tile) for tile in others]
    return found


@functools.cache
def the_case(device: torch.device) -> Case:
    """The paper's model as bench_planning.py has it, without paths."""
    return build("paper", device, TURNS, [], [], {})


def inputs(device: torch.device, candidates: int) -> tuple[Packed, Tensor, Tensor]:
    """The packed model, a latent and candidates."""
    latents, _, plans = the_case(device).inputs(1, candidates, HORIZON)
    return the_case(device).model.pack("bf16"), latents[:, None], plans


def error(got: Tensor, latents: Tensor, candidates: Tensor) -> float:
    """The relative error of the last candidates."""
    exact = {name: tensor.double() for name, tensor in the_case(got.device).model.state_dict().items()}
    some, heads = candidates[:, -CHECKED:].double(), CONFIG.model.predictor.heads
    expected = reference.rollout(exact, latents.double(), some, heads=heads)
    return float((got[:, -CHECKED:] - expected).norm() / expected.norm())


def measure(device: torch.device, candidates: int, problems: dict[str, str]) -> Iterator[Row]:
    """A row for each variant."""
    given, calls, errors = inputs(device, candidates), {}, {}
    about = {"candidates": candidates, "horizon": HORIZON, "device": str(device)}
    for variant in variants(candidates):
        problem = problems.get(f"{candidates} {variant.name}")
        if problem is None:
            try:
                errors[variant.name] = error(variant.call(*given), *given[1:])
                if errors[variant.name] < WRONG:
                    calls[variant.name] = captured(functools.partial(variant.call, *given))
                else:
                    problem = f"its relative error is {errors[variant.name]:.2g}"
            except Exception as failure:  # the others are still wanted
                problem = reason(failure)
        if problem is not None:
            yield {**about, "path": variant.name, "skipped": problem}
    for name, times in in_turns(calls, device, TURNS, warm_up=1).items():
        yield {**about, "path": name, "error": errors[name], **spread(times)}


def compiled(case: str) -> str | None:
    """Compiles a variant in a process of its own; returns the reason if that died."""
    command = [sys.executable, __file__, "--case", case]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=SECONDS, env=environment, check=False)
    except subprocess.TimeoutExpired:
        return f"not compiled after {SECONDS} s"
    return next(reversed(done.stderr.strip().splitlines()), "it died") if done.returncode else None


@torch.inference_mode()
def main() -> None:
    """Parses the command line, measures, writes the JSON after each number of candidates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write the results")
    parser.add_argument("--case", help="run one variant, such as '300 split'")
    options = parser.parse_args()
    device = best_device()
    if device.type != "cuda":
        sys.exit("bench_tiles.py: expected a CUDA device, and there is none. Run it on a machine with a GPU.")
    cases: dict[str, Callable[[], object]] = {}
    for candidates in CANDIDATES:
        for variant in variants(candidates):
            cases[f"{candidates} {variant.name}"] = lambda variant=variant, C=candidates: variant.call(
                *inputs(device, C)
            )
    if options.case:
        cases[options.case]()
        torch.cuda.synchronize()
        return
    with ThreadPoolExecutor(min(TOGETHER, os.cpu_count() or 1)) as pool:
        problems = {case: died for case, died in zip(cases, pool.map(compiled, cases), strict=True) if died}
    rows: list[Row] = []
    for candidates in CANDIDATES:
        for row in measure(device, candidates, problems):
            print(row, flush=True)
            rows.append(row)
        if options.json:
            write_report(options.json, "tiles", rows)


if __name__ == "__main__":
    main()
