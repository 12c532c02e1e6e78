"""Which options of `lewm plan` exclude each other."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from lewm.config import Planning

FROM_ENV = "from-env"
OF_SEARCH = ("planner", "cost", "warm_start")  # what of planning a policy does not use
OF_ARRIVAL = ("horizon", "horizon_end")  # and what one that is not told the steps to the goal does not use either


def check_shown(video: str | None, imagine: bool) -> None:
    """Raises for wrong usage of the options of films."""
    if video not in (None, "mp4", "gif"):
        raise typer.BadParameter(f"expected mp4 or gif, got {video!r}", param_hint="--video")
    if imagine and video is None:
        raise typer.BadParameter("shows its pictures in the films: give --video too", param_hint="--imagine")


def check_tasks(
    tasks: str | None,
    goal: Path | None,
    tasks_form: str,
    save_tasks: Path | None,
    of_dataset: Mapping[str, Any],
    of_any: Mapping[str, Any],
) -> None:
    """Raises for wrong usage of the options that say which tasks there are.

    Args:
        tasks, goal, tasks_form, save_tasks: Values of the options of these names.
        of_dataset: --protocol and --data, which are of tasks from a dataset.
        of_any: --episodes, --goal-offset and --budget, which are of all tasks that are not read from a file.
    """
    if tasks_form not in ("lewm", "clear"):
        raise typer.BadParameter(f"expected lewm or clear, got {tasks_form!r}", param_hint="--tasks-form")
    if tasks_form == "clear" and save_tasks is None:
        raise typer.BadParameter("is the form of --save-tasks: give that too", param_hint="--tasks-form")
    if tasks not in (None, FROM_ENV):
        refuse(
            {"--protocol": of_dataset["--protocol"], **of_any, "--goal": goal},
            "the file that --tasks names settles it",
        )
    elif tasks == FROM_ENV or goal is not None:
        refuse(of_dataset, "the tasks are not from a dataset")
    if goal is not None:
        refuse({"--goal-offset": of_any["--goal-offset"]}, "the goal is the picture")
        refuse({"--save-tasks": save_tasks}, "a goal picture is not kept in the file: give others the picture")


def refuse_unused(chosen: Planning, flags: Mapping[str, Any], assignments: Mapping[str, Any]) -> None:
    """Raises for wrong usage if a setting of planning is given that the agent does not use.

    Args:
        chosen: All settings.
        flags: Those that options of their own gave, by key.
        assignments: Those that --set gave, by key.
    """
    if chosen.agent == "planner":
        return
    unused: Collection[str] = OF_SEARCH
    reason = "the policy decides, without a search"
    if not chosen.plans:
        unused, reason = set(type(chosen).model_fields) - {"agent"}, f"the agent {chosen.agent} does not plan"
    elif chosen.agent != "idm":
        unused = (*OF_SEARCH, *OF_ARRIVAL)
        reason += ", and is not told the steps to the goal"
    named = {f"--{key.removesuffix('.kind').rpartition('.')[2].replace('_', '-')}": key for key in flags}
    named |= {f"--set {key}": key for key in assignments}
    refuse({option: key for option, key in named.items() if key.split(".")[0] in unused}, reason)


def refuse(values: Mapping[str, Any], reason: str) -> None:
    """Raises for wrong usage if any of these options is given."""
    for name in given(values):
        raise typer.BadParameter(f"cannot be given: {reason}", param_hint=name)


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are not None."""
    return {key: value for key, value in values.items() if value is not None}
