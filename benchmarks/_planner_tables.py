"""The tables of the results of bench_planners.py and bench_objectives.py, for tables.py."""

import statistics
from typing import Any

from _cells import load, machines

WORLDS = ("two-room", "push-t")


def planners() -> str:
    """Planner, cost, context and replanning on the same tasks: a row for each setting, with success in each world."""
    reports = {world: load(f"planners-{world}-cpu.json") for world in WORLDS}
    settings = {_setting(row["plan"]["planner"]): None for report in reports.values() for row in report["results"]}
    columns = " | ".join(f"{world}: solved | 95 % interval | won, lost | ms a plan" for world in WORLDS)
    rows = [f"| planner | cost | context | execute | {columns} |", f"|{'---|' * (4 + 4 * len(WORLDS))}"]
    for setting in settings:
        cells = [cell for report in reports.values() for cell in _cells(report["results"], setting)]
        rows.append(f"| {' | '.join([*setting, *cells])} |")
    return "\n".join([*rows, "", machines(reports.values()), ""])


def objectives() -> str:
    """SIGReg as a sketch and exact: success and training time on the same data, tasks and seeds."""
    reports = {world: load(f"objectives-{world}-cpu.json") for world in WORLDS}
    rows = ["| world | SIGReg | seeds | solved | prediction error | training |", "|---|---|---|---|---|---|"]
    for world, report in reports.items():
        for name in dict.fromkeys(row["objective"] for row in report["results"]):
            some = [row for row in report["results"] if row["objective"] == name]
            solved = ", ".join(f"{row['plan']['successes']} of {row['plan']['episodes']}" for row in some)
            errors = ", ".join(f"{row['terms']['prediction']:.4f}" for row in some)
            seconds = f"{statistics.median(row['train']['seconds'] for row in some):.0f} s"
            seeds = ", ".join(str(row["seed"]) for row in some)
            rows.append(f"| {' | '.join([world, name, seeds, solved, errors, seconds])} |")
    return "\n".join([*rows, "", machines(reports.values()), ""])


def _setting(planner: dict[str, Any]) -> tuple[str, str, str, str]:
    """Planner, cost, context and replanning in words."""
    search = planner["planner"]
    execute, horizon = planner["execute"] or planner["horizon"], planner["horizon"]
    how = f"{execute} of {horizon}"
    if execute < horizon:
        how += ", then fewer" if planner["horizon_end"] == "shrink" else ", always"
    name = f"{search['kind']}, {search['samples']} × {search['iterations']}"
    if planner["warm_start"] == "on":
        name += ", warm start"
    return name, planner["cost"]["kind"], str(planner["context"]), how


def _cells(rows: list[dict[str, Any]], setting: tuple[str, str, str, str]) -> list[str]:
    row = next((row for row in rows if _setting(row["plan"]["planner"]) == setting), None)
    if row is None:
        return ["-"] * 4
    plan = row["plan"]
    low, high = plan["interval_95"]
    solved = f"{plan['successes']} of {plan['episodes']} = {plan['success_rate']:.1%}"
    took = "not measured"
    if "seconds_a_plan" in row:
        took = f"{1e3 * row['seconds_a_plan']:.0f} ({row['times_the_first']:.2f} of the first)"
    return [solved, f"{low:.1%} to {high:.1%}", _against(rows[0]["plan"], plan), took]


def _against(first: dict[str, Any], plan: dict[str, Any]) -> str:
    """Numbers of tasks that only one of the two plans solved."""
    if plan is first:
        return ""
    both = list(zip(first["tasks"], plan["tasks"], strict=True))
    won, lost = both.count(("0", "1")), both.count(("1", "0"))
    return f"+{won} −{lost}"
