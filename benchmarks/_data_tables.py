"""The tables of the results of bench_data.py and bench_far.py, for tables.py."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from _cells import RESULTS, between, difference, duration, each_seed, machines, points, success_of


def data() -> str:
    """Data against success: a row for each setting, compared with the recipe's data on the same tasks."""
    rows = [
        "| world, agent | episodes | collected by | noise | frames | collect | seed: solved | interquartile mean "
        "| 95 % interval | points more than the first | random actions |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    reports = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("data-*-cpu.json"))]
    for report in reports:
        first, *others = _grouped(report["results"], "setting")
        for some in (first, *others):
            setting = some[0]["setting"]
            agent = {"planner": "search", "idm": "policy"}[some[0]["plan"]["planner"]["agent"]]
            cells = [
                f"{some[0]['world']}, {agent}",
                f"{setting['episodes']:,}",
                setting["policy"],
                f"{setting['noise']:g}" if "expert" in setting["policy"] else "-",  # the others have none
                f"{some[0]['frames']:,}",
                duration([row["seconds"]["collect"] for row in some]),
                each_seed(some),
                *_compared(first, some),
                f"{success_of([row['plan']['random'] for row in some]).value:.1%}",
            ]
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join([*rows, "", machines(reports), ""])


def far() -> str:
    """Goals far away: a row for each setting and goal offset, compared with the first setting on the same tasks."""
    rows = [
        "| world | goal, budget | planner | cost | seed: solved | interquartile mean | 95 % interval "
        "| points more than the first |",
        "|---|---|---|---|---|---|---|---|",
    ]
    reports = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("far-*-cpu.json"))]
    for report in reports:
        results = [{**row, "goal": [row["plan"]["goal_offset"], row["plan"]["budget"]]} for row in report["results"]]
        for goal in _grouped(results, "goal"):
            first, *others = _grouped(goal, "options")
            for some in (first, *others):
                offset, budget = some[0]["goal"]
                cells = [
                    some[0]["world"],
                    f"{offset}, {budget}",
                    *_searched(some[0]["options"]),
                    each_seed(some),
                    *_compared(first, some),
                ]
                rows.append(f"| {' | '.join(cells)} |")
    return "\n".join([*rows, "", machines(reports), ""])


def _searched(options: Sequence[str]) -> tuple[str, str]:
    """Planner and cost in words."""
    given = dict(zip(options[::2], options[1::2], strict=True))
    if "--agent" in given:
        told = f", told {given['--horizon']} blocks" if "--horizon" in given else ""
        return "the policy alone" + told, "-"
    begun = ", from the policy's plan" if "--warm-start" in given else ""
    return given["--planner"] + begun, given["--cost"]


def _compared(first: Sequence[dict[str, Any]], some: Sequence[dict[str, Any]]) -> list[str]:
    """Success over seeds with its interval, and how it differs from the first setting's on the seeds of both."""
    success = success_of([row["plan"] for row in some])
    apart = ""
    if some is not first:
        own, theirs = ({row["seed"]: row["plan"]["tasks"] for row in rows} for rows in (some, first))
        both = [seed for seed in theirs if seed in own]
        apart = points(difference([theirs[seed] for seed in both], [own[seed] for seed in both])) if both else "-"
        if both and len(both) < len(own):
            apart += f", seed {', '.join(map(str, both))}"
    return [f"{success.value:.1%}", between(success), apart]


def _grouped(rows: Sequence[dict[str, Any]], key: str) -> Iterator[list[dict[str, Any]]]:
    """The rows with the same value of a key, in the order in which each value came first."""
    values: list[Any] = []
    for row in rows:
        if row[key] not in values:
            values.append(row[key])
            yield [other for other in rows if other[key] == row[key]]
