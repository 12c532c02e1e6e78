"""The page's parts on planning: for each agent its newest plan, beside what bounds its success on the same tasks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lewm.checkpoints import run
from lewm.config import POLICY_KINDS
from lewm.evaluation.report import WITHOUT_PLANS, agent_name
from lewm.page import elements, learning, tasks
from lewm.page.content import ODD, Content, count, newest_first, other_weights
from lewm.page.course import success_beside
from lewm.page.document import KeyNumber
from lewm.page.media import LARGEST, is_inside
from lewm.page.shelf import Shelf
from lewm.planning.policy import NAMES
from lewm.report_files import read_report

PATTERN = "plan-[0-9]*.json"
SEARCH, CEILING = "planner", "expert"
TITLES: dict[str, str] = {  # by agent, in the order of the page
    SEARCH: "Planning",
    **{kind: f"Planning by {NAMES[kind]}" for kind in POLICY_KINDS},
    CEILING: "The ceiling: the world's demonstrator",
    "random": "The floor: random actions",
}

# Where a search begins, by `planning.warm_start`.
BEGINS = {"off": "anew", "on": "at the rest of the plan before", "idm": "at the plan of the run's policy"}


def planning(path: Path, shelf: Shelf) -> Content:
    """plan-*.json: how often an agent reaches its goals, beside floor and ceiling, and which it does not."""
    report = read_report(path)
    acting = agent_name(report["planner"])
    bounds = _bounds(path, report)
    agents = {acting: report, **bounds}
    warning = other_weights(path, report)
    body = warning
    if report["success_rate"] is None:
        rows = [
            (name, *(f"{one['latent_distance'][at]:.3g}" for at in ("start", "end"))) for name, one in agents.items()
        ]
        body += elements.table(("agent", "distance at the start", "at the end"), rows)
        body += elements.paragraph(
            f"Distances to the goal are in latent space, mean over {report['episodes']} tasks.",
            "quiet",
        )
    else:
        solved = [
            (name, f"{one['successes']} of {one['episodes']}", f"{one['success_rate']:.1%}", _interval(one))
            for name, one in agents.items()
        ]
        body += elements.table(("agent", "solved", "success", "95 % interval"), solved)
        if not warning:
            config, _ = run.read_config(path.parent)
            body += success_beside(config.env, learning.lines_of(path.parent), report, shelf)
    offset, unplanned = report["goal_offset"], report["planner"]["agent"] in WITHOUT_PLANS
    goals = "of the environment or in a picture" if offset is None else f"{offset} steps ahead"
    body += elements.facts(
        [
            ("Goals", f"{goals}, {report['budget']} allowed"),
            ("Tasks", f"{report['protocol']} ({report['tasks_sha256'][:12]})"),
            ("Success", report["success"]),
            ("Discarded", f"{report['discarded_solved']} starts, solved already"),
            *_how_planned(report["planner"]),
            ("Time", f"{report['seconds_per_plan']:.2g} s {'an action' if unplanned else 'a plan'}"),
        ]
    )
    body += tasks.failures(report, shelf) + tasks.films(path, report, shelf)
    if unplanned:
        return Content(body)
    return Content(body, (_success(report, acting, bounds),))


def newest_plans(directory: Path) -> dict[str, Path]:
    """The newest report of each agent that has acted in a run, by agent."""
    return {_agent_of(path): path for path in reversed(newest_first(directory, PATTERN))}


def _agent_of(path: Path) -> str:
    """The one of `TITLES` that acts in a report; the search where the report does not say so, or is damaged."""
    report = _read(path)
    agent = None if report is None else report["planner"]["agent"]
    return agent if isinstance(agent, str) and agent in TITLES else SEARCH


def _bounds(path: Path, report: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The success that others had on the same tasks, by name: the demonstrator, where it tried them, and chance."""
    bounds: dict[str, Mapping[str, Any]] = {}
    if report["planner"]["agent"] != CEILING and report["success_rate"] is not None:
        tried = filter(None, map(_read, newest_first(path.parent, PATTERN)))
        of_ceiling = (one for one in tried if one["planner"]["agent"] == CEILING)
        ceiling = next((one for one in of_ceiling if one["tasks_sha256"] == report["tasks_sha256"]), None)
        if ceiling is not None:
            bounds[WITHOUT_PLANS[CEILING]] = ceiling
    if report["random"] is not None:
        bounds[WITHOUT_PLANS["random"]] = report["random"]
    return bounds


def _read(path: Path) -> dict[str, Any] | None:
    """The report; None where it is damaged or odd, which the part that shows it says."""
    if not is_inside(path, path.parent, LARGEST):
        return None
    try:
        report = read_report(path)
        _ = report["planner"]["agent"], report["tasks_sha256"]
    except ODD:
        return None
    return report


def _how_planned(planning: dict[str, Any]) -> list[tuple[str, str]]:
    """The planner with its settings, the cost with its own, and how much of a plan is executed."""
    agent = planning["agent"]
    if agent in WITHOUT_PLANS:
        return [("Agent", f"{WITHOUT_PLANS[agent]}, no plans")]
    planner, cost, horizon = planning["planner"], planning["cost"], planning["horizon"]
    execute, next_plan = planning["execute"] or horizon, ""
    if execute < horizon:
        ends = {"shrink": "the blocks left until the arrival", "fixed": "as many blocks"}
        next_plan = f" before the next plan, which has {ends[planning['horizon_end']]}"
    searched = [
        ("Planner", ", ".join([planner["kind"].upper(), *_settings(planner)])),
        ("Cost", ", ".join([cost["kind"], *_settings(cost)])),
        ("Search begins", BEGINS[planning["warm_start"]]),
    ]
    return [
        *(searched if agent == "planner" else [("Policy", f"{NAMES[agent]}, learnt on the run's latents, no search")]),
        ("Horizon", f"{count(horizon, 'block')}, {execute} executed{next_plan}"),
        ("Context", count(planning["context"], "latent")),
    ]


def _settings(section: dict[str, Any]) -> list[str]:
    """Each key of a section with its value, except its kind; a file without its folders."""
    return [
        f"{key.replace('_', ' ')} {Path(value).name if key == 'path' and value else value}"
        for key, value in section.items()
        if key != "kind"
    ]


def _success(report: Mapping[str, Any], name: str, bounds: Mapping[str, Mapping[str, Any]]) -> KeyNumber:
    """The success of an agent beside the bounds, or its distance where it cannot be told what is solved."""
    ahead = "" if report["goal_offset"] is None else f", goals {report['goal_offset']} steps ahead"
    tried = f"{report['episodes']} tasks{ahead}"
    if report["success_rate"] is None:
        start, end = (f"{report['latent_distance'][at]:.3g}" for at in ("start", "end"))
        told = f"latent distance to the goal, before and after; {tried}"
        return KeyNumber(f"{start} → {end}", f"towards the goal by {name}", told)
    beside = "".join(f"; {other} {one['success_rate']:.1%}" for other, one in bounds.items())
    told = f"95 %: {_interval(report)}; {tried}{beside}"
    return KeyNumber(f"{report['success_rate']:.1%}", f"of the goals reached by {name}", told)


def _interval(success: Mapping[str, Any]) -> str:
    low, high = success["interval_95"]
    return f"{low:.1%} to {high:.1%}"
