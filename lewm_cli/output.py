"""All output of the command line: results on stdout; progress, notes and failures on stderr.

Names of files, attributes of datasets and messages of libraries are text from others. `plain` makes it fit to be shown,
and everything here goes through `plain`.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from lewm.json_values import finite
from lewm_cli.failures import explain
from lewm_cli.interruption import exit_code

# Control characters, which move the cursor and more; Unicode's line separators and marks of writing direction, which do
# so too; halves of surrogate pairs, which stand for the bytes of a name that is not UTF-8.
_NOT_SHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(text: str, lines: bool = False) -> str:
    """Any text, changed so that a terminal only shows it.

    Control characters become codes such as \\x1b or \\n, and bytes that are not UTF-8 the replacement character.

    Args:
        text: Any text.
        lines: Whether line ends stay as they are.
    """

    def shown(found: re.Match[str]) -> str:
        character = found[0]
        if lines and character == "\n":
            return character
        return "\N{REPLACEMENT CHARACTER}" if character >= "\ud800" else character.encode("unicode_escape").decode()

    return _NOT_SHOWN.sub(shown, text)


class _Console(Console):
    """Shows text as it is: no markup, no emoji, no colours for what looks like a number or a path."""

    def __init__(self, stderr: bool = False, width: int | None = None) -> None:
        super().__init__(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)

    @property
    def encoding(self) -> str:
        """The stream's encoding, from which rich sees whether it has to draw tables in ASCII."""
        return (getattr(self.file, "encoding", None) or "utf-8").lower()

    def render_str(self, text: str, **options: Any) -> Text:  # noqa: ANN401  # rich's own
        """Every cell, title and line that is not a `Text` comes through here."""
        return super().render_str(plain(text, lines=True), **options)


stdout = _Console()
stderr = _Console(stderr=True)


def set_up() -> None:
    """Lets the streams take any character, whatever the terminal's encoding, and shows the library's warnings."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    logging.basicConfig(level=logging.WARNING, handlers=[_Warnings()])


class _Warnings(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        stderr.print(f"{record.levelname.lower()}: {plain(record.getMessage())}", soft_wrap=True)


def styled(text: str, style: str = "") -> Text:
    """Text in a style, for a table."""
    return Text(plain(text, lines=True), style)


def note(*lines: str) -> None:
    """Shows lines for a person, which do not go into a pipe."""
    for line in lines:
        stderr.print(plain(line), style="dim", soft_wrap=True)


def show(*parts: Any) -> None:  # noqa: ANN401
    """Shows the command's result to a person: lines of text, and tables."""
    for part in parts:
        stdout.print(plain(part) if isinstance(part, str) else part, soft_wrap=True)


def show_json(result: dict[str, Any]) -> None:
    """Shows the command's result to a program: ASCII, with null for numbers that are not finite, which JSON lacks."""
    stdout.file.write(json.dumps(finite(result), indent=2, allow_nan=False) + "\n")


class _Bar(Progress):
    """In a with block, it is shown from the first progress on, and not left where that was none before an error."""

    waits = False

    def __enter__(self) -> Self:
        self.waits = True
        return self

    def update(self, task_id: TaskID, **changes: Any) -> None:  # noqa: ANN401  # those of rich
        if self.waits:
            self.waits = False
            self.start()
        super().update(task_id, **changes)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        self.update(task_id, advance=advance)

    def __exit__(self, kind: type[BaseException] | None, *raised: object) -> None:
        if not self.waits:
            self.live.transient |= kind is not None and not any(task.completed for task in self.tasks)
            self.stop()


def progress_bar(*columns: ProgressColumn) -> Progress:
    """A bar with `columns` beside it, then the time passed and left; it is shown from the first progress on."""
    times = (TimeElapsedColumn(), column(lambda _: "passed,"), TimeRemainingColumn(), column(lambda _: "left"))
    return _Bar(column(lambda task: task.description), BarColumn(), *columns, *times, console=stderr)


def show_stage(bar: Progress, task: TaskID, what: str, done: float, total: float | None = 1) -> None:
    """Show what is done now, and how much of it is done; the clock begins anew with each stage."""
    (shown,) = (one for one in bar.tasks if one.id == task)
    if shown.description != what:
        bar.reset(task, description=what)
    bar.update(task, completed=done, total=total)


def plain_table(*columns: str) -> Table:
    """An empty table with a line under its head."""
    from rich import box

    return Table(*columns, caption_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)


def column(words: Callable[[Task], str]) -> ProgressColumn:
    """A column of a progress bar: what `words` says of its task."""

    class Words(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(plain(words(task)))

    return Words(Column(no_wrap=True))


def count_of(unit: str) -> ProgressColumn:
    """A column with how many are done, and of how many where that is known."""

    def counted(task: Task) -> str:
        total = "" if task.total is None else f"/{task.total:.0f}"
        return f"{task.completed:.0f}{total} {unit}"

    return column(counted)


def fail(error: BaseException, command: str = "") -> int:
    """Say on two lines what went wrong in `command` and what to do; returns the exit code."""
    if os.environ.get("LEWM_DEBUG") == "1":
        for line in "".join(traceback.format_exception(error)).splitlines():
            stderr.print(plain(line), soft_wrap=True)
    problem, remedy = explain(error, command)
    _say(problem, remedy)
    return exit_code(error)


def refuse(problem: str, command: str) -> int:
    """Say on two lines what is wrong in how a command was given; returns the exit code."""
    _say(problem, f'"{command} --help" shows what it takes.')
    return 2


def _say(problem: str, remedy: str) -> None:
    stderr.print("error:", style="bold red", end=" ")
    for line in (problem, remedy):
        stderr.print(plain(line), soft_wrap=True)


def flush() -> None:
    """Sends off what was shown.

    Raises:
        OSError: Nobody reads it any more, or the disk is full. What is left is thrown away, so that Python does not
            report it once more when it ends.
    """
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise
