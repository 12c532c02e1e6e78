"""The tables of the pages, made from the committed results: `python benchmarks/tables.py` writes them in place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from _cells import load, machines
from _compare_tables import comparison
from _convert_tables import converting
from _curve_tables import curves
from _data_tables import data, far
from _design_counts import designs
from _gpu_tables import ceilings, trained, training
from _patch_tables import patch_ratio
from _planner_tables import objectives, planners
from _planning_tables import growth, on_gpus, patches, planning, stages
from _reader_tables import reading
from _recipe_tables import recipes
from _sigreg_tables import exact, floor, philox, sigreg
from _world_tables import collecting, drawing, verdicts, worlds

from lewm.recipes import small

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Rewrites every page that has tables."""
    for name in PAGES:
        path = ROOT / name
        path.write_text(filled(name, path.read_text()))


def filled(page: str, text: str) -> str:
    """`text` with a new table between each `<!-- table NAME -->` and `<!-- end -->`."""
    for name, make in PAGES[page].items():
        before, mark, rest = text.partition(f"<!-- table {name} -->\n")
        assert mark, f"{page} has no table {name}"
        _, end, after = rest.partition("<!-- end -->")
        text = before + mark + make() + end + after
    return text


def success() -> str:
    """Success of the small recipe, one row a training seed."""
    report = load("quickstart-cpu.json")
    rows = [
        "| training seed | LeWM + CEM | 95 % interval | random actions | collect | train | plan | probe | suite |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for result in report["results"]:
        plan, seconds = result["plan"], result["seconds"]
        low, high = plan["interval_95"]
        times = " | ".join(f"{seconds[stage]:.0f} s" for stage in seconds)
        rows.append(
            f"| {result['seed']} | {plan['successes']} of {plan['episodes']} = {plan['success_rate']:.1%} "
            f"| {low:.1%} to {high:.1%} | {plan['random']['success_rate']:.1%} | {times} |"
        )
    return "\n".join([*rows, "", machines([report]), ""])


def recipe() -> str:
    """The effect of λ and of the length of training on the latent space and on planning, for one seed."""
    rows = [
        "| λ | steps | effective rank | rank correlation | nearer half of the pairs | solved |",
        "|---|---|---|---|---|---|",
    ]
    names = ["quickstart-cpu", "recipe-lambda-0.01-steps-800", "recipe-lambda-0.03-steps-250"]
    for name in [*names, "recipe-lambda-0.09-steps-250"]:
        (result,) = [r for r in load(f"{name}.json")["results"] if r["seed"] == 1]
        options, health = result.get("options", []), result["train"]["health"]
        weight = (
            options[options.index("--lambda") + 1] if options else small("two-room", 2).objective.weights()["sigreg"]
        )
        rows.append(
            f"| {weight} | {result['train']['steps']} | {health['effective_rank']:.1f} "
            f"| {health['distance_correlation']:.2f} | {health['near_correlation']:.2f} "
            f"| {result['plan']['success_rate']:.1%} |"
        )
    return "\n".join([*rows, ""])


def probing() -> str:
    """The agent's position, read from the latents and from the baselines: the worst of all training seeds."""
    rows = ["| read from | linear MSE | linear r | MLP MSE | MLP r |", "|---|---|---|---|---|"]
    results = load("quickstart-cpu.json")["results"]
    for features in [one["features"] for one in results[0]["probe"]["probed"]]:
        probed = [one for result in results for one in result["probe"]["probed"] if one["features"] == features]
        cells = []
        for probe in ("linear", "mlp"):
            for score, worst in (("mse", max), ("r", min)):
                cells.append(_rounded(worst((one[probe][score] for one in probed), key=lambda e: e["value"])))
        rows.append(f"| {features} | {' | '.join(cells)} |")
    return "\n".join([*rows, ""])


def surprise() -> str:
    """Every perturbation over all training seeds: the worst of each measure."""
    results = load("quickstart-cpu.json")["results"]
    rows = [
        "| event | AUROC | p | detected | AUROC, actions unknown | p | detected |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(one["perturbation"] for one in results[0]["surprise"]["outcomes"]):
        cells = []
        for actions in ("known", "unknown"):
            outcomes = [
                one
                for result in results
                for one in result["surprise"]["outcomes"]
                if (one["perturbation"], one["actions"]) == (name, actions)
            ]
            p_values = [one["p_value"] for one in outcomes if one["p_value"] is not None]
            detected = sum(one["detected"] for one in outcomes) / len(outcomes)
            p_value = f"{max(p_values):.0e}" if p_values else "-"
            cells += [f"{min(one['auroc'] for one in outcomes):.3f}", p_value, f"{detected:.0%}"]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    alarms = {
        actions: [one for result in results for one in result["surprise"]["false_alarms"] if one["actions"] == actions]
        for actions in ("known", "unknown")
    }
    rates = {
        actions: sum(one["flagged"] for one in every) / sum(one["frames"] for one in every)
        for actions, every in alarms.items()
    }
    alpha = results[0]["surprise"]["alpha"]
    intervals = [one["interval_95"] for every in alarms.values() for one in every]
    held = sum(low <= alpha <= high for low, high in intervals)
    rows += [
        "",
        f"False alarms in untouched frames: {rates['known']:.2%} with the actions known, {rates['unknown']:.2%} "
        f"unknown, at alpha {alpha:g}, which lies in {held} of the {len(intervals)} runs' 95 % intervals.",
    ]
    return "\n".join([*rows, ""])


def speed() -> str:
    """The times that users notice: rendering, SIGReg, planning, surprise."""
    rooms, statistic, plans = load("two_room-cpu.json"), load("sigreg-cpu.json"), load("planning-cpu.json")
    rows = ["| what | measured |", "|---|---|"]
    for size in (64, 224):
        best = max((r for r in rooms["results"] if r["frame_size"] == size), key=lambda r: r["frames_per_second"])
        rows.append(
            f"| Two-Room, {size} px, physics included, one core | {best['frames_per_second']:,.0f} frames/s "
            f"({best['num_envs']} together) |"
        )
    both = {
        r["path"]: r
        for r in statistic["results"]
        if (r["shape"], r["pass"], r["threads"]) == ("paper", "forward+backward", 2)
    }
    ours, definition = both["torch"], both["definition"]
    rows += [
        f"| SIGReg at the paper's size, forward and backward | {ours['median_ms']:.1f} ms; the definition in PyTorch "
        f"{definition['median_ms']:.0f} ms |",
        f"| its memory beyond the inputs | {ours['peak_extra_bytes'] / 2**20:.1f} MiB; the definition "
        f"{definition['peak_extra_bytes'] / 2**20:.0f} MiB |",
    ]
    for r in plans["results"]:
        if (r["part"], r["stage"], r["path"]) == ("b", "solve", "lewm"):
            baselines = {name.split()[0]: ratio for name, ratio in r["ratios"].items()}
            slower = ", ".join(f"{name} {ratio:.1f} times as long" for name, ratio in baselines.items())
            what = f"{r['samples']} candidates, {r['horizon']} blocks, {r['iterations']} iterations"
            rows.append(f"| a plan of the {r['model']} model, {what} | {r['median_ms'] / 1e3:.2g} s; {slower} |")
    rows += on_gpus()
    watched = load("surprise-cpu.json")["results"]
    longest = max(r["frames"] for r in watched)
    for r in watched:
        if r["frames"] == longest:
            rows.append(
                f"| `lewm surprise`, {r['case']}, {r['pixels']} px at 10 frames a second "
                f"| {r['frames_per_second']:.0f} frames/s, {r['times_real_time']:.0f} times real time |"
            )
    memory = {r["frames"]: r["peak_bytes"] for r in watched if r["case"] == "actions unknown"}
    grown = " and ".join(f"{size / 2**20:.0f} MiB for {frames:,} frames" for frames, size in sorted(memory.items()))
    rows.append(f"| its peak memory, PyTorch included | {grown} |")
    days = sorted({report["time"][:10] for report in (rooms, statistic, plans, load("surprise-cpu.json"))})
    return "\n".join([*rows, "", f"Measured on {rooms['cores']} cores of an {rooms['cpu']}, {', '.join(days)}.", ""])


def _rounded(estimate: dict[str, Any]) -> str:
    low, high = estimate["interval_95"]
    return f"{estimate['value']:.4f} ({low:.4f} to {high:.4f})"


PAGES = {
    "README.md": {
        "success": success,
        "recipe": recipe,
        "recipes": recipes,
        "worlds": worlds,
        "curves": curves,
        "data": data,
        "far": far,
        "planners": planners,
        "objectives": objectives,
        "probing": probing,
        "surprise": surprise,
        "speed": speed,
        "patch-ratio": patch_ratio,
        "baselines": comparison("baselines"),
    },
    "docs/evidence.md": {
        "ablation": comparison("ablation"),
        "planners-compared": comparison("planners"),
        "baselines-push-t": comparison("baselines-push-t"),
    },
    "data/README.md": {"verdicts": verdicts, "collecting": collecting, "drawing": drawing, "reading": reading},
    "docs/data.md": {"converting": converting},
    "kernels/README.md": {
        "floor": floor,
        "sigreg": sigreg,
        "exact": exact,
        "designs": designs,
        "planning": planning,
        "stages": stages,
        "patches": patches,
        "growth": growth,
        "philox": philox,
    },
    "docs/gpu.md": {"ceilings": ceilings, "training": training, "trained": trained},
}


if __name__ == "__main__":
    main()
