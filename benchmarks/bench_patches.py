"""One plan of LeWM against one plan of a world model of DINO-WM's size: how many times as long the latter takes.

    python benchmarks/bench_patches.py --threads 2 --json benchmarks/results/patches-cpu.json

Both have the published sizes and random weights, on which time does not depend. All calls take turns in one process, so
that a busy machine is busy for all of them. In each turn there are

- "rollout": the costs of the same few candidates by each model, in one batch of that size, for two sizes. So neither
  gains from a larger batch. "lewm" is this project's operator, "released" the released loop in plain PyTorch
  (`lewm_kernels.rollout.reference`), "dino-wm-sized" the large model.
- "plan": a whole plan, from a frame to actions: 300 candidates, 30 iterations, 5 blocks. On a CPU the large model's
  would take hours. There it is the time of encoding a frame and that of the larger number of candidates, multiplied up
  to all candidates, which is fair if time grows with their number: the two sizes show that. The released loop's plan is
  multiplied up from a few iterations. Where a row has `measured_candidates` or `measured_iterations`, only these were
  timed. On a GPU all plans are measured whole, in each precision, and LeWM's is a CUDA graph, as for every user.

`ratios` are a row's time over those of "lewm" and "released" in the same turn: the geometric mean over turns, with the
95 % interval of a bootstrap over turns. `growth` is likewise its time over that of the smaller number of candidates.
The rows "arithmetic" are counts for one candidate, see `_patch_counts`.

B environments, S candidates.
"""

import argparse
import copy
import functools
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from _measure import Call, best_device, in_turns, keep_freed_memory, spread
from _patch_counts import launches, lewm_launches, of_lewm, of_patches, weights
from _planning_case import Case, Row, build
from _planning_check import check
from _planning_patches import DTYPES
from _planning_paths import SEED, baselines, settings_of, with_iterations
from _report import write_report
from dino_wm_sized import DinoWmSized
from torch import Tensor

from lewm.measures.intervals import percentile_interval
from lewm.planning.plan import Keys, Start
from lewm.planning.planners.cem import cem

LARGE, RELEASED, LEWM = "dino-wm-sized", "released", "lewm"
RESAMPLES = 20_000
FEW_ITERATIONS = 3  # of the released loop's search, where a whole one would take half of the time


def calls_of(case: Case, precision: str, sizes: list[int]) -> dict[tuple[str, str, int], Call]:
    """Everything to time in one precision, by (stage, path, candidates)."""
    config, planning, on_cuda = case.model.config, case.planning, case.device.type == "cuda"
    ours, plain = case.paths[f"lewm {precision}"], case.paths[f"reference {precision}"]
    large = DinoWmSized(config.frame_size, config.action_block).eval().to(case.device, DTYPES[precision])
    pixels = (case.frames(1).permute(0, 3, 1, 2) / 255).to(case.device, DTYPES[precision])
    frames, there = case.frames(1), large.encode(pixels)
    latents, goals, _ = case.inputs(1, 1, planning.horizon)

    def far(start: Tensor, candidates: Tensor) -> Tensor:
        return large.cost(start, candidates.to(DTYPES[precision]), there).float()

    calls: dict[tuple[str, str, int], Call] = {}
    for S in sizes:
        _, _, candidates = case.inputs(1, S, planning.horizon)
        calls["rollout", LARGE, S] = case.in_search(functools.partial(far, there, candidates))
        calls["rollout", RELEASED, S] = functools.partial(plain.costs, latents, goals, candidates)
        calls["rollout", LEWM, S] = case.in_search(functools.partial(ours.costs, latents, goals, candidates))
    calls["plan", LEWM, 0] = lambda: ours.solve(case.model.embed(frames), goals, planning)
    part = planning if on_cuda else with_iterations(planning, min(FEW_ITERATIONS, settings_of(planning).iterations))
    calls["plan", RELEASED, 0] = lambda: plain.solve(case.model.embed(frames), goals, part)
    if on_cuda:
        start = Start.standard(1, planning.horizon, config.action_block, case.device)
        keys = Keys(SEED, torch.zeros(1, dtype=torch.int64, device=case.device), 0)
        settings = settings_of(planning)
        calls["plan", LARGE, 0] = lambda: cem(functools.partial(far, large.encode(pixels)), start, settings, keys)
    else:
        calls["encode", LARGE, 0] = functools.partial(large.encode, pixels)
    return calls


def measured(case: Case, precision: str, sizes: list[int], turns: int) -> list[Row]:
    """The rows of one precision."""
    times = in_turns(
        {"|".join(map(str, key)): call for key, call in calls_of(case, precision, sizes).items()},
        case.device,
        turns,
        warm_up=1,
    )
    found = {(stage, path, int(S)): each for (stage, path, S), each in ((k.split("|"), v) for k, v in times.items())}
    settings, extra = settings_of(case.planning), {}
    if ("encode", LARGE, 0) in found:
        every, most = settings.samples * settings.iterations + 1, max(sizes)  # and the result's cost
        parts = zip(found.pop(("encode", LARGE, 0)), found["rollout", LARGE, most], strict=True)
        found["plan", LARGE, 0] = [encode + every / most * rollout for encode, rollout in parts]
        extra["plan", LARGE] = {"measured_candidates": most}
        part = min(FEW_ITERATIONS, settings.iterations)
        found["plan", RELEASED, 0] = [settings.iterations / part * one for one in found["plan", RELEASED, 0]]
        extra["plan", RELEASED] = {"measured_iterations": part}
    rows = []
    for (stage, path, S), own in sorted(found.items()):
        row = {"stage": stage, "path": path, "precision": precision, "samples": S or settings.samples}
        row |= {"horizon": case.planning.horizon, "iterations": settings.iterations if stage == "plan" else 1}
        row |= {"device": str(case.device), "threads": torch.get_num_threads(), **spread(own)}
        row["ratios"] = {other: ratio(own, found[stage, other, S]) for other in (LEWM, RELEASED)}
        if stage == "rollout" and max(sizes) == S:
            row["growth"] = ratio(own, found[stage, path, min(sizes)]) | {"candidates": max(sizes) / min(sizes)}
        rows.append(row | extra.get((stage, path), {}))
        print(said(rows[-1]), flush=True)
    return rows


def ratio(times: list[float], own: list[float]) -> dict[str, object]:
    """Geometric mean over turns of a time over another, with its 95 % interval over turns."""
    logarithms = np.log(np.array(times) / np.array(own))
    drawn = np.random.default_rng(0).integers(len(logarithms), size=(RESAMPLES, len(logarithms)))
    low, high = percentile_interval(logarithms[drawn].mean(axis=1))
    value, *interval = (float(f"{np.exp(one):.4g}") for one in (logarithms.mean(), low, high))
    return {"value": value, "interval_95": interval}


def arithmetic(case: Case) -> list[Row]:
    """What each model's rollout takes: counts, which no measurement is needed for."""
    config, H = case.model.config, case.planning.horizon
    large = DinoWmSized(config.frame_size, config.action_block).eval()
    latents, goals, candidates = (one.cpu() for one in case.inputs(1, 2, H))
    some = torch.zeros(1, large.patches, large.encode(torch.zeros(1, 3, *[config.frame_size] * 2)).shape[-1])
    predictors = {LARGE: weights(large.predictor), LEWM: weights(case.model.predictor)}
    plain = baselines(copy.deepcopy(case.model).cpu(), ("reference",), "fp32")["reference fp32"]
    started = {
        LARGE: launches(lambda: large.cost(some, candidates, some)),
        RELEASED: launches(functools.partial(plain.costs, latents, goals, candidates)),
        LEWM: lewm_launches(case.model, settings_of(case.planning).samples, H),
    }
    counts = {
        LARGE: of_patches(large.patches, config.action_block, H),
        RELEASED: of_lewm(config, H, once=False),
        LEWM: of_lewm(config, H, once=True),
    }
    return [
        {
            "stage": "arithmetic",
            "path": name,
            "horizon": H,
            **asdict(each),
            "multiply_adds": each.multiply_adds,
            "weights": predictors[LARGE if name == LARGE else LEWM],
            "launches": started[name],
        }
        for name, each in counts.items()
    ]


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
    parser.add_argument("--candidates", type=int, nargs=2, default=[2, 4], help="two sizes of a batch")
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
            rows += measured(case, precision, sorted(options.candidates), turns)
    if options.json:
        write_report(options.json, "patches", [{**row, "provisional": options.provisional} for row in rows])


if __name__ == "__main__":
    main()
