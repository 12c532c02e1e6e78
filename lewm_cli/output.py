"""The one sink of the command line: data on stdout; progress, notes and failures on stderr."""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from typing import Any

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

stdout = Console()
stderr = Console(stderr=True)


def note(message: str) -> None:
    """A line for the person, not for a pipe."""
    stderr.print(message, style="dim", highlight=False, markup=False, soft_wrap=True)


def show(renderable: Any) -> None:  # noqa: ANN401
    """The command's result, for a person."""
    stdout.print(renderable, soft_wrap=True)


def show_json(result: dict[str, Any]) -> None:
    """The command's result, for a program."""
    sys.stdout.write(json.dumps(result, indent=2) + "\n")


def progress_bar(*columns: ProgressColumn) -> Progress:
    """A bar with `columns` beside it, then the time passed and left."""
    times = (TimeElapsedColumn(), TextColumn("passed,"), TimeRemainingColumn(), TextColumn("left"))
    return Progress(TextColumn("{task.description}"), BarColumn(), *columns, *times, console=stderr)


def count_of(unit: str) -> ProgressColumn:
    """How many of how many, where the latter is known."""

    class Count(ProgressColumn):
        def render(self, task: Task) -> Text:
            total = "" if task.total is None else f"/{task.total:.0f}"
            return Text(f"{task.completed:.0f}{total} {unit}")

    return Count()


def set_up_logging() -> None:
    """The library's warnings, on stderr."""
    handler = RichHandler(console=stderr, show_time=False, show_path=False, markup=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])


def fail(error: BaseException) -> int:
    """Say on two lines what went wrong and what to do; the exit code."""
    if os.environ.get("LEWM_DEBUG") == "1":
        traceback.print_exception(error)
    problem, remedy = explain(error)
    stderr.print("error:", style="bold red", end=" ")
    stderr.print(problem, markup=False, highlight=False, soft_wrap=True)
    stderr.print(remedy, markup=False, highlight=False, soft_wrap=True)
    return 130 if isinstance(error, KeyboardInterrupt) else 1


def explain(error: BaseException) -> tuple[str, str]:
    """What was expected and got, and what to do next."""
    lines = str(error).splitlines() or [type(error).__name__]
    if isinstance(error, KeyboardInterrupt):
        if error.args:  # the command has said what is kept, and how to go on
            return lines[0], " ".join(lines[1:])
        return "interrupted", "What was finished is kept; lewm collect --append and lewm train --resume continue."
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or lines[0]}", "Check the path, its permissions and the free space."
    if type(error).__module__.startswith("lewm") and len(lines) > 1:
        return lines[0], " ".join(lines[1:])
    return (
        f"{type(error).__name__}: {lines[0]}",
        "This is not expected: set LEWM_DEBUG=1 for the traceback and report it.",
    )
