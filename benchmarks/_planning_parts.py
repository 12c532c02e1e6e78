"""The measurements of bench_planning.py: one iteration, a whole search, and growth.

B environments, S candidates, H horizon in blocks.
"""

import functools
from pathlib import Path as File

import torch
from _counts import multiply_adds, needed, released
from _measure import Call, median_ratio, peak_bytes, profile, seconds
from _planning_case import BASELINES, Case, Row
from _planning_check import check
from _planning_paths import PRECISIONS, SEED, family, products, settings_of, true_costs, with_iterations
from torch import Tensor

from lewm.planning.plan import Keys, Start
from lewm.planning.planners.cem import cem
from lewm_kernels.candidates import Sampler

GROWTH = {"samples": (30, 100, 300, 1000), "horizon": (1, 2, 3, 5, 10), "environments": (1, 5, 20, 50)}
TRACED_ITERATIONS = 2  # for a solve's memory
RESOLUTION = 1e-9  # resolution of the clock in seconds; a ratio can be formed with it


def one_iteration(case: Case, B: int, profiles: File | None) -> list[Row]:
    """Part (a); with `profiles`, the times of the kernels in the fastest precision go into that file."""
    S, H = case.planning.planner.samples, case.planning.horizon
    about = {"part": "a", "stage": "rollout", "environments": B, "samples": S, "horizon": H}
    checked, inputs = check(case, B), case.inputs(B, S, H)
    plain, peak, calls = {}, {}, {}
    for name, path in list(checked.paths.items()):
        plain[name] = functools.partial(path.costs, *inputs)
        with checked.or_fault(name):
            peak[name] = peak_bytes(plain[name], case.device)
            calls[name] = case.as_graph(plain[name]) if path.graph else plain[name]
    needed_products = functools.partial(products, case.model, B * S, H)
    precisions = dict.fromkeys(path.precision for path in case.paths.values())
    bare = {f"products {precision}": needed_products(precision) for precision in precisions}
    if case.device.type == "cpu":
        bare["products-onednn fp32"] = needed_products("fp32", Tensor.to_mkldnn)
    times = case.timed(calls | {name: case.in_search(call) for name, call in bare.items()})
    counts = {True: multiply_adds(released(case.model.config, H)), False: multiply_adds(needed(case.model.config, H))}

    def of_path(name: str) -> Row:
        title, precision = name.split()
        is_baseline = family(title) in BASELINES
        row: Row = {"multiply_adds_a_candidate": counts[is_baseline]}
        if name in bare:
            return row
        row |= {"peak_extra_bytes": peak[name], **checked.about[name]}
        if not is_baseline:
            fastest = map(min, zip(*(times[other] for other in bare if other.endswith(precision)), strict=True))
            row["share_of_matrix_rate"] = median_ratio(list(fastest), times[name])
        return row

    rows = case.rows(times, about, of_path) + case.skipped(about, checked.faults)
    fastest_precision = next(precision for precision in reversed(PRECISIONS) if precision in precisions)
    for name, path in checked.paths.items() if profiles else ():
        if path.precision == fastest_precision and (path.captures or not path.graph):
            profile(f"{case.name}, {B} environments, {name}", plain[name], case.device, profiles)
    return rows


def solve(case: Case, part: str, B: int, limit: float, library_limit: float) -> list[Row]:
    """Parts (b) and (c), and the stages of the library's search.

    The first solve with a number of iterations is not timed: the library captures its graph there. Where a solve would
    take longer than `limit` seconds, or `library_limit` if it is the library's own, only as many iterations as fit are
    timed, and their time is multiplied up to all.
    """
    planning = case.planning
    latents, goals, candidates = case.inputs(B, planning.planner.samples, planning.horizon)
    about: Row = {"part": part, "environments": B, "samples": planning.planner.samples, "horizon": planning.horizon}
    about |= {"iterations": planning.planner.iterations, "from": "latents"}
    checked = check(case, B)

    iterations, calls, of_path = {}, {}, {}
    for name, path in list(checked.paths.items()):
        with checked.or_fault(name):
            one = seconds(functools.partial(path.costs, latents, goals, candidates), case.device)
            longest = library_limit if name.startswith("lewm ") else limit
            count = min(planning.planner.iterations, max(1, int(longest / one)))
            measured, traced = (with_iterations(planning, n) for n in (count, TRACED_ITERATIONS))
            call = functools.partial(path.solve, latents, goals, measured)
            peak = peak_bytes(functools.partial(path.solve, latents, goals, traced), case.device)
            first = seconds(call, case.device)
            graphed = case.as_graph(call) if path.graph and not path.captures else call
            of_path[name] = _of_solve(case, graphed, count)
            of_path[name] |= {"error": checked.about[name]["error"], "peak_extra_bytes": peak}
            of_path[name]["first_ms"] = round(1e3 * first, 1)
            iterations[name], calls[name] = count, graphed
    times = case.timed(calls | _stages(case, B))
    scaled = {}
    for name in calls:
        scale = planning.planner.iterations / iterations[name]
        scaled[name] = [scale * t for t in times[name]]
        if scale > 1:
            of_path[name]["measured_iterations"] = iterations[name]
        together = checked.paths[name].together
        if together:  # fewer than were planned first, if the memory did not suffice
            timed = with_iterations(planning, iterations[name])
            of_path[name]["together"] = min(B, together(timed))

    rows = case.rows(scaled, about | {"stage": "solve"}, of_path.__getitem__)
    rows += case.skipped(about | {"stage": "solve"}, checked.faults)
    select = difference(times["search"], times["sample"])
    for name in [name for name in scaled if name.startswith("lewm ")]:
        for stage, own in (("encode", times["encode"]), ("sample", times["sample"]), ("select", select)):
            rows += case.rows({name: own}, about | {"stage": stage})
    staged = {
        name: difference(scaled[name], times["search"]) for name in scaled if name.split()[0] in ("lewm", "reference")
    }
    measured = {name: {k: v for k, v in of_path[name].items() if k == "measured_iterations"} for name in staged}
    return rows + case.rows(staged, about | {"stage": "rollout"}, measured.__getitem__)


def difference(longer: list[float], shorter: list[float]) -> list[float]:
    """The difference of longer and shorter times in each turn; 0 where noise makes it negative."""
    return [max(RESOLUTION, a - b) for a, b in zip(longer, shorter, strict=True)]


def growth(case: Case) -> list[Row]:
    """The time of one iteration for growing values of each of its sizes."""
    rows = []
    base = {"environments": 1, "samples": case.planning.planner.samples, "horizon": case.planning.horizon}
    for size, values in GROWTH.items():
        for value in values:
            sizes = base | {size: value}
            inputs = case.inputs(*sizes.values())
            ours = [name for name in case.paths if name.startswith("lewm") and name not in case.left_out]
            calls = {name: case.as_graph(functools.partial(case.paths[name].costs, *inputs)) for name in ours}
            rows += case.rows(case.timed(calls), {"part": "growth", "stage": "rollout", "of": size, **sizes})
    return rows


def _stages(case: Case, B: int) -> dict[str, Call]:
    """The work of a solve besides rollouts, `search`, and its part `sample`; and the work before it, `encode`."""
    planning = case.planning
    start = Start.standard(B, planning.horizon, case.model.config.action_block, case.device)
    keys = Keys(SEED, torch.arange(B, device=case.device), 0)
    costs = case.inputs(B, planning.planner.samples, planning.horizon)[2][:, :, 0, 0]

    def sample() -> None:
        draw = Sampler(keys.seed, keys.streams(planning.planner.iterations), planning.planner.samples)
        for iteration in range(planning.planner.iterations):
            draw(iteration, start.mean, start.std)

    def search() -> None:
        cem(lambda some: costs[:, : some.shape[1]], start, settings_of(planning), keys)

    encode = functools.partial(case.model.embed, case.frames(B))
    return {"sample": case.in_search(sample), "search": case.in_search(search), "encode": encode}


def _of_solve(case: Case, call: Call, iterations: int) -> Row:
    """Whether two solves give the same bits and, where all iterations were done, the plans' mean cost in float64."""
    plans = call()
    assert isinstance(plans, Tensor)
    plans = plans.clone()  # a graph writes the next into the same tensor
    again = call()
    assert isinstance(again, Tensor)
    row: Row = {"repeats": torch.equal(plans, again)}
    if iterations == case.planning.planner.iterations:
        latents, goals, _ = case.inputs(len(plans), case.planning.planner.samples, case.planning.horizon)
        row["plan_cost"] = float(f"{float(true_costs(case.model, latents, goals, plans[:, None]).mean()):.5g}")
    return row
