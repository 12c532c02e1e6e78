"""A report in a run: its name, its JSON, and reading it back.

plan-20260321-141500.json     the result, with a checksum; written last
plan-20260321-141500/         the pictures, videos and tables that belong to it
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lewm.errors import LewmError
from lewm.files import write_text
from lewm.json_values import finite
from lewm.reading import parse_json, read_text
from lewm.sealed import SHA256, SealError, check_sealed, sealed_json
from lewm_data.temporary import claimed

LARGEST = 2**26  # bytes of a report that is read

CHANGED = "Take it from where it was written, or make the report again."


@runtime_checkable
class Report(Protocol):
    """The result of a command."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""


class NotKeptError(LewmError):
    """A result that is there, but that could not be written, or not with all that belongs to it.

    Attributes:
        report: The result.
        cause: What went wrong.
    """

    def __init__(self, report: Report, path: Path, error: Exception) -> None:
        super().__init__(f"{path}: could not be written: {error}", "The result is in this error's `report`.")
        self.report, self.cause = report, error


@contextlib.contextmanager
def new_report(run: Path, kind: str) -> Iterator[Path]:
    """The path of a report's JSON in a run, "plan-20260321-141500.json", which no other process is given.

    What belongs to it goes into the folder of the same name, which is removed if the block ends without the JSON.

    Raises:
        LewmError: Nothing can be written into the run.
    """
    with contextlib.ExitStack() as stack:
        try:
            path = stack.enter_context(claimed(run / f"{kind}-{datetime.now(UTC):%Y%m%d-%H%M%S}.json"))
        except OSError as error:
            raise LewmError(
                f"{run}: its report cannot be written there: {error.strerror or error}",
                "Copy the run to a folder that you can write to, and give --run the copy.",
            ) from error
        try:
            yield path
        finally:
            if not path.exists():
                shutil.rmtree(path.with_suffix(""), ignore_errors=True)


class Beside:
    """Calls `write`, which writes files beside a result that is still being made.

    When the system refuses that, for example because the disk is full, the work goes on and nothing more is written;
    `check` raises the error at the end.
    """

    def __init__(self, write: Callable[..., object]) -> None:
        self.write = write
        self.refused: OSError | None = None

    def __call__(self, *arguments: Any) -> None:  # noqa: ANN401
        """Write, unless that was refused before."""
        if self.refused is None:
            try:
                self.write(*arguments)
            except OSError as error:
                self.refused = error

    def check(self) -> None:
        """Raises the first error, if there was one."""
        if self.refused is not None:
            raise self.refused


@contextlib.contextmanager
def keeping(path: Path, report: Report) -> Iterator[None]:
    """A block that writes what belongs to a result, and then the JSON at `path`.

    Raises:
        NotKeptError: It failed; carries the result.
    """
    try:
        yield
        write_report(path, report)
    except Exception as error:
        raise NotKeptError(report, path, error) from error


def write_report(path: Path, report: Report) -> None:
    """Write a result as JSON, with a checksum of all the rest."""
    write_text(path, sealed_json(finite(report.as_dict())))


def read_report(path: Path) -> dict[str, Any]:
    """The content of a report, without its checksum.

    Raises:
        LewmError: It is not a regular file, too large, not JSON, or was changed after it was written.
    """
    text = read_text(path, CHANGED, LARGEST)
    content = parse_json(text, str(path), CHANGED)
    try:
        check_sealed(content, text)
    except SealError as error:
        raise LewmError(f"{path}: damaged, or changed after it was written: {error}", CHANGED) from error
    return {key: value for key, value in content.items() if key != SHA256}
