"""Planning: our paths against the released arithmetic, from one rollout to the search for 50 environments.

    python benchmarks/bench_planning.py --threads 2 --json benchmarks/results/planning-cpu.json

Parts: (a) the costs of one iteration's candidates, (b) a solve for one environment, (c) for 50, (d) a plan from a
frame, against a world model of DINO-WM's size, and growth: how the time of (a) grows with its sizes.

Every path's costs are first compared with those of the reference in float64; the program stops if one is wrong or
prefers other candidates. Then all paths take turns in the same run. `ratios` are medians over turns of a baseline's
time as a multiple of the row's in the same turn. The baselines are `lewm_kernels.rollout.reference` in our search, the
same under torch.compile (--compile), and where it is installed stable-worldmodel's search with its own predictor.
"lewm" is what a user of the library gets.

"products" are no paths: the matrix products that a rollout cannot do without, and nothing else, once with PyTorch's
plain tensors and on a CPU once with oneDNN's. The less of their times as a share of a path's is the share of the
machine's matrix rate that the path reaches.

Solves begin with latents, and the encoder is a stage beside them. Peak memory is what a call allocates beyond its
inputs and the weights; of a solve, what its first two iterations do. Freed memory is kept for the next call, which
favours the baselines. Where `measured_iterations` or `measured_candidates` stands, so many were timed, and the time
multiplied up to all of them.

B environments, S candidates, H horizon in blocks.
"""

import argparse
import functools
import sys
from pathlib import Path

import torch
from _counts import multiply_adds, needed, released
from _measure import Call, best_device, keep_freed_memory, median_ratio, peak_bytes
from _planning_case import BASELINES, Case, Row, build
from _planning_paths import SEED, judge, products, true_costs
from _report import write_report
from dino_wm_sized import DinoWmSized
from torch import Tensor

from lewm.config import Planning
from lewm.planning.cem import Gaussian, Keys, cem
from lewm_kernels.candidates import Sampler

MODELS = ("paper", "small")
PARTS = ("a", "b", "c", "d", "growth")
MANY = 50  # environments
GROWTH = {"samples": (30, 100, 300, 1000), "horizon": (1, 2, 3, 5, 10), "environments": (1, 5, 20, 50)}
TRACED_ITERATIONS = 2  # for a solve's memory
CPU_ITERATIONS = 1  # of (c), where all would take the baselines half an hour a turn
CPU_CANDIDATES = 3  # of (d), where all would take hours


def check(case: Case) -> None:
    """Stops the program if a path does not find the reference's costs and elites."""
    planning = case.planning
    inputs = case.inputs(2, planning.samples, planning.horizon)
    truth = true_costs(case.model, *inputs)
    for name, path in case.paths.items():
        wrong = judge(path.costs(*inputs), truth, planning.elites, path.precision)
        if wrong:
            sys.exit(f"{case.name}, {name}: {wrong}")


def one_iteration(case: Case, B: int) -> list[Row]:
    """Part (a)."""
    S, H = case.planning.samples, case.planning.horizon
    inputs = case.inputs(B, S, H)
    plain = {name: functools.partial(path.costs, *inputs) for name, path in case.paths.items()}
    peak = {name: peak_bytes(call, case.device) for name, call in plain.items()}
    calls = {name: case.as_graph(call) if case.paths[name].graph else call for name, call in plain.items()}
    needed_products = functools.partial(products, case.model, B * S, H)
    precisions = dict.fromkeys(path.precision for path in case.paths.values())
    bare = {f"products {precision}": needed_products(precision) for precision in precisions}
    if case.device.type == "cpu":
        bare["products-onednn fp32"] = needed_products("fp32", Tensor.to_mkldnn)
    times = case.timed(calls | {name: case.as_graph(call) for name, call in bare.items()})
    counts = {True: multiply_adds(released(case.model.config, H)), False: multiply_adds(needed(case.model.config, H))}

    def of_path(name: str) -> Row:
        title, precision = name.split()
        row: Row = {"multiply_adds_a_candidate": counts[title in BASELINES]}
        if name in peak:
            row["peak_extra_bytes"] = peak[name]
        if name in peak and title not in BASELINES:
            fastest = map(min, zip(*(times[other] for other in bare if other.endswith(precision)), strict=True))
            row["share_of_matrix_rate"] = median_ratio(list(fastest), times[name])
        return row

    about = {"part": "a", "stage": "rollout", "environments": B, "samples": S, "horizon": H}
    return case.rows(times, about, of_path)


def solve(case: Case, part: str, B: int, iterations: int) -> list[Row]:
    """Parts (b) and (c), and the stages of the library's search."""
    planning = case.planning
    measured = planning.model_copy(update={"iterations": iterations})
    traced = planning.model_copy(update={"iterations": TRACED_ITERATIONS})
    latents, goals, candidates = case.inputs(B, planning.samples, planning.horizon)
    start = Gaussian.standard(B, planning.horizon, case.model.config.action_block, case.device)
    keys = Keys(SEED, torch.arange(B, device=case.device), 0)
    costs = candidates[:, :, 0, 0]

    def sample() -> None:
        draw = Sampler(keys.seed, keys.streams(iterations), planning.samples)
        for iteration in range(iterations):
            draw(iteration, start.mean, start.std)

    def search() -> None:  # all but the rollout
        cem(lambda some: costs[:, : some.shape[1]], start, measured, keys)

    short = {name: functools.partial(path.solve, latents, goals, traced) for name, path in case.paths.items()}
    peak = {name: peak_bytes(call, case.device) for name, call in short.items()}
    solves = {name: functools.partial(path.solve, latents, goals, measured) for name, path in case.paths.items()}
    stages = {"sample": case.as_graph(sample), "search": case.as_graph(search)}
    encode = functools.partial(case.model.embed, case.frames(B))
    times = case.timed({**solves, **stages, "encode": encode})
    scale = planning.iterations / iterations
    about: Row = {"part": part, "environments": B, "samples": planning.samples, "horizon": planning.horizon}
    about |= {"iterations": planning.iterations, "from": "latents"}
    if scale > 1:
        about["measured_iterations"] = iterations

    def less(longer: str, shorter: str) -> list[float]:
        return [scale * (a - b) for a, b in zip(times[longer], times[shorter], strict=True)]

    whole = {name: [scale * t for t in times[name]] for name in solves}
    rows = case.rows(whole, about | {"stage": "solve"}, lambda name: {"peak_extra_bytes": peak[name]})
    rows += case.rows({"lewm fp32": times["encode"]}, about | {"stage": "encode"})
    rows += case.rows({"lewm fp32": [scale * t for t in times["sample"]]}, about | {"stage": "sample"})
    rows += case.rows({"lewm fp32": less("search", "sample")}, about | {"stage": "select"})
    staged = [name for name in solves if name.split()[0] in ("lewm", "reference")]
    return rows + case.rows({name: less(name, "search") for name in staged}, about | {"stage": "rollout"})


def against_patches(case: Case) -> list[Row]:
    """Part (d): from a frame and the goal's embedding to a plan."""
    planning, few = case.planning, case.planning
    if case.device.type == "cpu":
        few = planning.model_copy(update={"samples": CPU_CANDIDATES, "elites": 2, "iterations": 1})
    rolled_out = few.samples * few.iterations + 1  # and the result
    scale = (planning.samples * planning.iterations + 1) / rolled_out
    frames, (_, goals, _) = case.frames(1), case.inputs(1, 1, planning.horizon)
    calls: dict[str, Call] = {
        name: lambda path=path: path.solve(case.model.embed(frames), goals, planning)
        for name, path in case.paths.items()
        if name.split()[0] in ("lewm", "reference")
    }
    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16}
    precisions = [precision for precision in dtypes if f"lewm {precision}" in case.paths]
    for precision in precisions:
        encode, search = patch_calls(case, few, dtypes[precision])
        calls |= {f"encode {precision}": encode, f"search {precision}": search}
    times = case.timed(calls)
    for precision in precisions:
        parts = zip(times.pop(f"encode {precision}"), times.pop(f"search {precision}"), strict=True)
        times[f"dino-wm-sized {precision}"] = [encode + scale * search for encode, search in parts]

    def of_path(name: str) -> Row:
        return {"measured_candidates": rolled_out} if scale > 1 and name.startswith("dino-wm-sized") else {}

    about = {"part": "d", "stage": "plan", "environments": 1, "samples": planning.samples, "horizon": planning.horizon}
    return case.rows(times, about | {"iterations": planning.iterations, "from": "frame"}, of_path)


def patch_calls(case: Case, planning: Planning, dtype: torch.dtype) -> tuple[Call, Call]:
    """Encoding a frame, and the search, with a model of DINO-WM's size."""
    sizes = case.model.config
    large = DinoWmSized(sizes.frame_size, sizes.action_block).eval().to(case.device, dtype)
    pixels = (case.frames(1).permute(0, 3, 1, 2) / 255).to(case.device, dtype)
    there = large.encode(pixels)
    start = Gaussian.standard(1, planning.horizon, sizes.action_block, case.device)
    keys = Keys(SEED, torch.zeros(1, dtype=torch.int64, device=case.device), 0)

    def cost(candidates: Tensor) -> Tensor:
        return large.cost(there, candidates.to(dtype), there).float()

    return functools.partial(large.encode, pixels), functools.partial(cem, cost, start, planning, keys)


def growth(case: Case) -> list[Row]:
    """How the time of one iteration grows with each of its sizes."""
    rows = []
    base = {"environments": 1, "samples": case.planning.samples, "horizon": case.planning.horizon}
    for size, values in GROWTH.items():
        for value in values:
            sizes = base | {size: value}
            inputs = case.inputs(*sizes.values())
            ours = {name: path for name, path in case.paths.items() if name.startswith("lewm")}
            calls = {name: case.as_graph(functools.partial(path.costs, *inputs)) for name, path in ours.items()}
            rows += case.rows(case.timed(calls), {"part": "growth", "stage": "rollout", "of": size, **sizes})
    return rows


@torch.inference_mode()
def measure(case: Case, parts: list[str], many: int) -> list[Row]:
    """Every row of one model."""
    check(case)
    on_cpu, iterations = case.device.type == "cpu", case.planning.iterations
    rows = []
    if "a" in parts:
        rows += [row for B in ((1,) if on_cpu else (1, many)) for row in one_iteration(case, B)]
    if "b" in parts:
        rows += solve(case, "b", 1, iterations)
    if "c" in parts:
        rows += solve(case, "c", many, min(iterations, CPU_ITERATIONS) if on_cpu else iterations)
    if "d" in parts and case.name != "small":  # whose frames have too few patches for a comparison
        rows += against_patches(case)
    if "growth" in parts:
        rows += growth(case)
    return rows


def main() -> None:
    """Parses the command line, measures, writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write the results")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[torch.get_num_threads()])
    parser.add_argument("--device", default="auto", help="auto, or a torch device")
    parser.add_argument("--compile", action="store_true", help="add the reference under torch.compile")
    parser.add_argument("--quick", action="store_true", help="a tiny model and few turns: does it run at all?")
    options = parser.parse_args()
    many = MANY
    if options.quick:
        options.models, options.turns, many = ["tiny"], 3, 3
    device = torch.device(options.device) if options.device != "auto" else best_device()
    keep_freed_memory()
    rows = []
    for threads in options.threads:
        torch.set_num_threads(threads)
        for name in options.models:
            rows += measure(build(name, device, options.turns, options.compile), options.parts, many)
    if options.json:
        write_report(options.json, "planning", rows)


if __name__ == "__main__":
    main()
