"""One plan of LeWM against one plan of a world model of DINO-WM's size: how many times as long the latter takes.

    python benchmarks/bench_patches.py --threads 2 --json benchmarks/results/patches-cpu.json

All have the released sizes and random weights, on which time does not depend. All calls take turns in one process, so
that a busy machine is busy for all of them. Each model is there in two forms, so that like is compared with like:

- "released": LeWM's released loop in plain PyTorch (`lewm_kernels.rollout.reference`). "dino-wm-sized": DINO-WM's plain
  loop (`dino_wm_sized.py`). Both compute every window from its beginning.
- "lewm": this project's operator. "dino-wm": the predictor of the recipe of that name (`lewm/model/patches.py`), which
  keeps keys and values. Both are what users run.

In each turn there are

- "rollout": the costs of the same few candidates by each, in one batch of that size, for two sizes. So none gains from
  a larger batch.
- "plan": a whole plan, from a frame to actions: 300 candidates, 30 iterations, 5 blocks. On a CPU those of the large
  models would take hours. There they are the time of encoding a frame and that of the larger number of candidates,
  multiplied up to all candidates, which is fair if time grows with their number: the two sizes show that. The released
  loop's plan is multiplied up from a few iterations. Where a row has `measured_candidates` or `measured_iterations`,
  only these were timed. On a GPU all plans are measured whole, in each precision, and LeWM's is a CUDA graph, as for
  every user.

`ratios` are a row's time over those of "lewm" and "released" in the same turn: the geometric mean over turns, with the
95 % interval of a bootstrap over turns. Where candidates were multiplied up, the interval also covers that of the
straight line through the times of both sizes, all resampled together. `growth` is likewise a row's time over that of
the smaller number of candidates. The rows "arithmetic" are counts for one candidate, see `_patch_counts`: DINO-WM's
release shows its encoder 196 patches, others show 256, which are counted and not measured.

B environments, S candidates.
"""

import argparse
import copy
import functools
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from _measure import Call, best_device, in_turns, keep_freed_memory, spread
from _patch_counts import launches, lewm_launches, of_kept, of_lewm, of_patches, weights
from _patch_models import LARGE, RECIPE, Encode, Far, large_models, recipe_model
from _planning_case import Case, Row, build
from _planning_check import check
from _planning_patches import DTYPES
from _planning_paths import SEED, baselines, settings_of, with_iterations
from _report import write_report
from dino_wm_sized import PATCH, WIDTH, DinoWmSized
from torch import Tensor

from lewm.config import Cem
from lewm.measures.intervals import percentile_interval
from lewm.planning.dynamics import DifferentiableDynamics
from lewm.planning.plan import Keys, Start
from lewm.planning.planners.cem import cem

RELEASED, LEWM = "released", "lewm"
SIDES = (14, 16)  # patches of a frame's side: released, and of a frame of 224 pixels as it is
RESAMPLES = 20_000
FEW_ITERATIONS = 3  # of the released loop's search, where a whole one would take half of the time


def calls_of(case: Case, precision: str, sizes: list[int], side: int) -> dict[tuple[str, str, int], Call]:
    """Everything to time in one precision, by (stage, path, candidates)."""
    planning, on_cuda, dtype = case.planning, case.device.type == "cuda", DTYPES[precision]
    ours, plain = case.paths[f"lewm {precision}"], case.paths[f"reference {precision}"]
    frames = case.frames(1)
    latents, goals, _ = case.inputs(1, 1, planning.horizon)
    calls: dict[tuple[str, str, int], Call] = {}
    for path, (encode, far) in large_models(case.model.config.action_block, case.device, dtype, side).items():
        there = encode()
        for S in sizes:
            call = functools.partial(far, there, there, case.inputs(1, S, planning.horizon)[2])
            calls["rollout", path, S] = case.in_search(call) if path == LARGE else call
        calls["encode" if not on_cuda else "plan", path, 0] = (
            functools.partial(_search, case, encode, far, there) if on_cuda else encode
        )
    for S in sizes:
        _, _, candidates = case.inputs(1, S, planning.horizon)
        calls["rollout", RELEASED, S] = functools.partial(plain.costs, latents, goals, candidates)
        calls["rollout", LEWM, S] = case.in_search(functools.partial(ours.costs, latents, goals, candidates))
    calls["plan", LEWM, 0] = lambda: ours.solve(case.model.embed(frames), goals, planning)
    part = planning if on_cuda else with_iterations(planning, min(FEW_ITERATIONS, settings_of(planning).iterations))
    calls["plan", RELEASED, 0] = lambda: plain.solve(case.model.embed(frames), goals, part)
    return calls


def _search(case: Case, encode: Encode, far: Far, goal: Tensor) -> object:
    """A whole plan, from a frame."""
    planning = case.planning
    start = Start.standard(1, planning.horizon, case.model.config.action_block, case.device)
    keys = Keys(SEED, torch.zeros(1, dtype=torch.int64, device=case.device), 0)
    return cem(functools.partial(far, encode(), goal), start, settings_of(planning), keys)


def measured(case: Case, precision: str, sizes: list[int], turns: int, side: int) -> list[Row]:
    """The rows of one precision."""
    times = in_turns(
        {"|".join(map(str, key)): call for key, call in calls_of(case, precision, sizes, side).items()},
        case.device,
        turns,
        warm_up=1,
    )
    found = {(stage, path, int(S)): each for (stage, path, S), each in ((k.split("|"), v) for k, v in times.items())}
    settings, extra = settings_of(case.planning), {}
    lines: dict[str, list[float]] = {}
    for path in [path for stage, path, _ in found if stage == "encode"]:
        encode, few, many = found.pop(("encode", path, 0)), *(found["rollout", path, S] for S in sizes)
        found["plan", path, 0], lines[path] = multiplied_up(encode, few, many, sizes, settings)
        extra["plan", path] = {"measured_candidates": max(sizes)}
    if case.device.type != "cuda":
        part = min(FEW_ITERATIONS, settings.iterations)
        found["plan", RELEASED, 0] = [settings.iterations / part * one for one in found["plan", RELEASED, 0]]
        extra["plan", RELEASED] = {"measured_iterations": part}
    rows = []
    for (stage, path, S), own in sorted(found.items()):
        row = {"stage": stage, "path": path, "precision": precision, "samples": S or settings.samples}
        row |= {"horizon": case.planning.horizon, "iterations": settings.iterations if stage == "plan" else 1}
        row |= {"device": str(case.device), "threads": torch.get_num_threads(), **spread(own)}
        line = lines.get(path) if stage == "plan" else None
        row["ratios"] = {other: ratio(own, found[stage, other, S], line) for other in (LEWM, RELEASED)}
        if stage == "rollout" and max(sizes) == S:
            row["growth"] = ratio(own, found[stage, path, min(sizes)]) | {"candidates": max(sizes) / min(sizes)}
        rows.append(row | extra.get((stage, path), {}))
        print(said(rows[-1]), flush=True)
    return rows


def multiplied_up(
    encode: list[float], few: list[float], many: list[float], sizes: list[int], settings: Cem
) -> tuple[list[float], list[float]]:
    """The time of a plan in each turn: in proportion to the larger batch, and on the line through both sizes."""
    least, most = sizes
    every = settings.samples * settings.iterations + 1  # and the result's cost
    parts = list(zip(encode, few, many, strict=True))
    line = []
    for start, low, high in parts:
        slope = (high - low) / (most - least)
        line.append(start + settings.iterations * (high + slope * (settings.samples - most)))
    return [start + every / most * high for start, _, high in parts], line


def ratio(times: list[float], own: list[float], line: list[float] | None = None) -> dict[str, object]:
    """Geometric mean over turns of a time over another, with its 95 % interval over turns.

    Where `line` is given, other estimates of `times`, the interval covers that of the ratio of their means, too: a
    single turn's estimate by a line may be below 0.
    """
    logarithms = np.log(np.array(times) / np.array(own))
    drawn = np.random.default_rng(0).integers(len(logarithms), size=(RESAMPLES, len(logarithms)))
    ends = [*np.exp(percentile_interval(logarithms[drawn].mean(axis=1)))]
    if line is not None:
        ends += percentile_interval(np.array(line)[drawn].mean(axis=1) / np.array(own)[drawn].mean(axis=1))
    value, *interval = (float(f"{one:.4g}") for one in (np.exp(logarithms.mean()), max(0.0, min(ends)), max(ends)))
    return {"value": value, "interval_95": interval}


def arithmetic(case: Case) -> list[Row]:
    """What each model's rollout takes: counts, which no measurement is needed for."""
    config, H = case.model.config, case.planning.horizon
    latents, goals, candidates = (one.cpu() for one in case.inputs(1, 2, H))
    small, kept = DinoWmSized(PATCH, config.action_block).eval(), recipe_model(1)  # as many operators, sooner
    some = torch.zeros(1, 1, small.encode(torch.zeros(1, 3, PATCH, PATCH)).shape[-1])
    dynamics = DifferentiableDynamics(kept)
    plain = baselines(copy.deepcopy(case.model).cpu(), ("reference",), "fp32")["reference fp32"]
    started = {
        LARGE: launches(lambda: small.cost(some, candidates, some)),
        RECIPE: launches(functools.partial(dynamics, torch.zeros(1, 1, WIDTH), candidates)),
        RELEASED: launches(functools.partial(plain.costs, latents, goals, candidates)),
        LEWM: lewm_launches(case.model, settings_of(case.planning).samples, H),
    }
    counts = [(RELEASED, 1, of_lewm(config, H, once=False)), (LEWM, 1, of_lewm(config, H, once=True))]
    for side in SIDES:
        counts += [(LARGE, side**2, of_patches(side**2, config.action_block, H))]
        counts += [(RECIPE, side**2, of_kept(side**2, config.action_block, H))]
    return [
        {
            "stage": "arithmetic",
            "path": name,
            "patches": patches,
            "horizon": H,
            **asdict(each),
            "multiply_adds": each.multiply_adds,
            "weights": _weights(case, name, patches),
            "launches": started[name],
        }
        for name, patches, each in counts
    ]


def _weights(case: Case, path: str, patches: int) -> int:
    """Bytes of a predictor."""
    side = math.isqrt(patches)
    if path == LARGE:
        return weights(DinoWmSized(side * PATCH, case.model.config.action_block).predictor)
    return weights((recipe_model(side) if path == RECIPE else case.model).predictor)


def said(row: Row) -> str:
    """One line for a reader."""
    value, (low, high) = row["ratios"][LEWM]["value"], row["ratios"][LEWM]["interval_95"]
    grown = f"  grows {row['growth']['value']:g} x for {row['growth']['candidates']:g} x" if "growth" in row else ""
    return (
        f"{row['threads']} threads {row['stage']:8} S {row['samples']:<4} {row['path']:14} {row['precision']} "
        f"{row['median_ms']:14.2f} ms  {value:g} x lewm ({low:g} to {high:g}){grown}"
    )


def main() -> None:
    """Parses the command line, measures, writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write the results")
    parser.add_argument("--candidates", type=int, nargs=2, default=[2, 8], help="two sizes of a batch")
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="auto", help="auto, or a torch device")
    parser.add_argument("--provisional", action="store_true", help="say in the JSON that other programs were at work")
    parser.add_argument("--quick", action="store_true", help="a tiny model and few turns: does it run at all?")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device) if options.device != "auto" else best_device()
    keep_freed_memory()
    precisions = ["fp32", "bf16"] if device.type == "cuda" else ["fp32"]
    turns = 3 if options.quick else options.turns
    case = build("tiny" if options.quick else "paper", device, turns, ("reference", "lewm"), precisions, {})
    rows: list[Row] = []
    with torch.inference_mode():
        wrong = {name: fault for name, fault in check(case, 1).faults.items() if name in case.paths}
        if wrong:
            raise SystemExit(f"a wrong result is not timed: {wrong}")
        rows += arithmetic(case)
        for precision in precisions:
            rows += measured(case, precision, sorted(options.candidates), turns, 1 if options.quick else SIDES[0])
    if options.json:
        write_report(options.json, "patches", [{**row, "provisional": options.provisional} for row in rows])


if __name__ == "__main__":
    main()
