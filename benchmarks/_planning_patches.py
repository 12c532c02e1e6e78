"""Part (d) of bench_planning.py: a plan from a frame, against a world model of DINO-WM's size."""

import copy
import functools

import torch
from _measure import Call
from _planning_case import Case, Row
from _planning_check import check
from _planning_paths import SEED, Path, family, settings_of
from dino_wm_sized import DinoWmSized
from torch import Tensor

from lewm.config import Cem
from lewm.planning.plan import Keys, Start
from lewm.planning.planners.cem import cem

# The part of the large model's search that is timed: a whole search would take hours on a CPU and many seconds on a
# GPU. A GPU gets all candidates, which it needs to be busy.
FEW = {"cpu": {"samples": 3, "elites": 2, "iterations": 1}, "cuda": {"iterations": 1}}
COMPARED = ("lewm", "reference", "dino-wm-sized", "dino-wm-sized-compiled")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def against_patches(case: Case, compiled: bool) -> list[Row]:
    """From a frame and the goal's embedding to a plan; `compiled` adds the large model under torch.compile."""
    planning = case.planning
    few = settings_of(planning).model_copy(update=FEW[case.device.type])
    rolled_out = few.samples * few.iterations + 1  # and the result
    scale = (planning.planner.samples * planning.planner.iterations + 1) / rolled_out
    about = {
        "part": "d",
        "stage": "plan",
        "environments": 1,
        "samples": planning.planner.samples,
        "horizon": planning.horizon,
    }
    about |= {"iterations": planning.planner.iterations, "from": "frame"}
    frames, (_, goals, _) = case.frames(1), case.inputs(1, 1, planning.horizon)
    checked = check(case, 1)
    calls: dict[str, Call] = {}
    for name, path in list(checked.paths.items()):
        with checked.or_fault(name):
            if family(name.split()[0]) in COMPARED:
                calls[name] = _from_frame(case, path, frames, goals)
    large = []
    for precision in [precision for precision in DTYPES if f"lewm {precision}" in calls]:
        for title, with_compiler in (("dino-wm-sized", False), ("dino-wm-sized-compiled", True))[: 1 + compiled]:
            name = f"{title} {precision}"
            with checked.or_fault(name):
                encode, search = map(case.as_graph, _patch_calls(case, few, DTYPES[precision], with_compiler))
                calls |= {f"{name} encode": encode, f"{name} search": search}
                large.append(name)
    times = case.timed(calls)
    for name in large:
        parts = zip(times.pop(f"{name} encode"), times.pop(f"{name} search"), strict=True)
        times[name] = [encode + scale * search for encode, search in parts]

    def of_path(name: str) -> Row:
        return {"measured_candidates": rolled_out} if scale > 1 and name in large else {}

    own = {name: fault for name, fault in checked.faults.items() if family(name.split()[0]) in COMPARED}
    return case.rows(times, about, of_path) + case.skipped(about, own)


def _from_frame(case: Case, path: Path, frames: Tensor, goals: Tensor) -> Call:
    """Encoding a frame, and the search."""
    if not path.graph or path.captures:
        return lambda: path.solve(case.model.embed(frames), goals, case.planning)
    latents = case.model.embed(frames)  # where the graph reads them
    solve = case.as_graph(functools.partial(path.solve, latents, goals, case.planning))

    def call() -> object:
        latents.copy_(case.model.embed(frames))
        return solve()

    return call


def _patch_calls(case: Case, settings: Cem, dtype: torch.dtype, compiled: bool) -> tuple[Call, Call]:
    """Encoding a frame, and the search, with a model of DINO-WM's size."""
    sizes = case.model.config
    plain = DinoWmSized(sizes.frame_size, sizes.action_block).eval().to(case.device, dtype)
    fused = copy.deepcopy(plain)
    for layer in (*fused.encoder, *fused.predictor) if compiled else ():
        layer.compile(dynamic=False)
    pixels = (case.frames(1).permute(0, 3, 1, 2) / 255).to(case.device, dtype)
    there = plain.encode(pixels)
    start = Start.standard(1, case.planning.horizon, sizes.action_block, case.device)
    keys = Keys(SEED, torch.zeros(1, dtype=torch.int64, device=case.device), 0)

    def cost(candidates: Tensor) -> Tensor:
        large = fused if candidates.shape[1] > 1 else plain  # the result's is not worth a compilation
        return large.cost(there, candidates.to(dtype), there).float()

    return functools.partial(fused.encode, pixels), functools.partial(cem, cost, start, settings, keys)
