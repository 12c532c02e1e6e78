"""The tasks of a plan on the page: those that failed first, in a table and as films."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lewm.page import elements
from lewm.page.media import VIDEOS, media_of
from lewm.page.shelf import Shelf

FILMS = 6  # how many are shown; a plan can have hundreds
LEAST_OTHERS = 2  # of them show tasks that did not fail, where there are any
ROWS = 12  # of the table of tasks that failed

FILM = re.compile(r"episode-([0-9]+)")  # the name of a film without its ending


def failures(report: dict[str, Any], shelf: Shelf) -> str:
    """A table of the tasks that were not solved or, where that is not known, of those that ended farthest away."""
    tasks = worst_first(report["tasks"])
    known = report["success_rate"] is not None
    failed = [one for one in tasks if not one["planner"]["solved"]]
    if not failed:
        return ""
    shown = failed[:ROWS]
    if known:
        title, count = "Tasks that were not solved", f"{len(failed)} of {len(tasks)}"
        count += f", of which {ROWS} are shown" * (len(failed) > ROWS)
        head: tuple[str, ...] = ("task", "episode", "step", "steps taken", "random actions")
        told: list[tuple[str, ...]] = [(_beside(one["random"]),) for one in shown]
    else:
        title, count = "Tasks that ended farthest from their goals", f"{len(shown)} of {len(tasks)}"
        head = ("task", "episode", "step", "steps taken", "distance, before → after", "by random actions")
        told = [(_distance(one["planner"]), _distance(one["random"])) for one in shown]
    rows = [
        (str(one["number"]), *_source(one), str(one["planner"]["steps"]), *last)
        for one, last in zip(shown, told, strict=True)
    ]
    return elements.table(head, rows, f"{title}: {count}", shelf.source_link(title))


def films(path: Path, report: dict[str, Any], shelf: Shelf) -> str:
    """The films of a plan: first those of tasks that failed."""
    media = media_of(path)
    tasks = {one["number"]: one for one in report["tasks"]}
    order = [one["number"] for one in worst_first(report["tasks"])]
    found = sorted(media.shown, key=lambda film: _place(film, order))
    failed = [one for one in found if _failed(one, tasks)]
    others = [one for one in found if one not in failed]
    shown_failed = failed[: FILMS - min(LEAST_OTHERS, len(others))]
    shown = [*shown_failed, *others[: FILMS - len(shown_failed)]]
    if not shown:
        return media.note()
    figures = [
        (elements.video if one.suffix in VIDEOS else elements.picture)(shelf.take(one), _caption(one, tasks))
        for one in shown
    ]
    told = (
        f"{len(shown)} of {len(found)} films. " + _counted(len(shown_failed), len(failed)) + "On the left is what the "
        "agent does, on the right the goal; between them, with a blue border, what the model imagines, if that was "
        "asked for. At the end the border is green where the goal was reached, red where it was not, grey where that "
        "is not known."
    )
    return elements.grid(figures) + elements.paragraph(told, "quiet") + media.note()


def worst_first(tasks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Tasks that failed before others; where that is not known, those that ended farthest from their goals first."""

    def place(task: dict[str, Any]) -> tuple[bool, float, int]:
        outcome = task["planner"]
        apart = outcome["latent_distance"]
        return bool(outcome["solved"]), 0.0 if apart is None else -apart["end"], task["number"]

    return sorted(tasks, key=place)


def _counted(shown: int, failed: int) -> str:
    if not failed:
        return ""
    return f"Tasks that failed come first: {shown} of {failed} are shown. "


def _number(film: Path) -> int | None:
    named = FILM.fullmatch(film.stem)
    return int(named[1]) if named else None


def _place(film: Path, order: list[int]) -> tuple[int, str]:
    number = _number(film)
    return (order.index(number) if number in order else len(order)), film.name


def _failed(film: Path, tasks: dict[int, dict[str, Any]]) -> bool:
    task = tasks.get(-1 if (number := _number(film)) is None else number)
    return task is not None and task["planner"]["solved"] is False


def _caption(film: Path, tasks: dict[int, dict[str, Any]]) -> str:
    task = tasks.get(-1 if (number := _number(film)) is None else number)
    if task is None:
        return film.stem.replace("-", " ")
    outcome = task["planner"]
    end = {True: "solved", False: "not solved", None: "over"}[outcome["solved"]]
    episode, step = _source(task)
    return f"Task {number}, episode {episode} from step {step}: {end} after {outcome['steps']} steps"


def _source(task: dict[str, Any]) -> tuple[str, str]:
    return str(task["episode"]), str(task["step"])


def _distance(outcome: dict[str, Any] | None) -> str:
    apart = None if outcome is None else outcome["latent_distance"]
    return "-" if apart is None else f"{apart['start']:.3g} → {apart['end']:.3g}"


def _beside(random: dict[str, Any] | None) -> str:
    """What random actions did in a task, unless they are the agent."""
    if random is None:
        return "-"
    return "solve it" if random["solved"] else "fail too"
