"""Where comparisons keep what they made, and what they note of each job: its result, or its error.

$LEWM_HOME/compare/
    datasets/WORLD-DIGEST.h5                          data, shared by all specifications
    runs/WORLD/RECIPE-CHANGES-DIGEST/seed-0           runs, shared likewise; `lewm report --run` shows one
    jobs/NAME/record.json                             the note, and the lock of who is at work on it
    SPECIFICATION/compare.json, index.html, files/    the result
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lewm.errors import LewmError
from lewm.files import home
from lewm.locks import LOCK, LockedError, writing
from lewm.report_files import read_report, write_report

RECORD = "record.json"


@dataclass(frozen=True)
class Record:
    """What became of a job.

    Attributes:
        result: What it made: paths are relative to the folder of all comparisons. None where it failed.
        problem, remedy: The two lines of its error; empty where there was none.
        trace: Where an error came from that nobody foresaw.
        seconds: What the job took.
    """

    result: dict[str, Any] | None
    problem: str
    remedy: str
    trace: str
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def of_error(cls, error: Exception, seconds: float, root: Path) -> Record:
        """The record of a job that failed; it names paths as results do, from the folder of all comparisons."""
        if hasattr(error, "problem") and hasattr(error, "remedy"):  # LewmError, DataError
            problem, remedy = (str(line).replace(f"{root}/", "") for line in (error.problem, error.remedy))
            return cls(None, problem, remedy, "", seconds)
        first = next(iter(str(error).splitlines()), "")
        trace = "".join(traceback.format_exception(error))
        return cls(None, f"{type(error).__name__}: {first}", "The record of the job has the traceback.", trace, seconds)


@dataclass(frozen=True)
class Place:
    """The folder of all comparisons."""

    root: Path

    @classmethod
    def default(cls) -> Place:
        """`$LEWM_HOME/compare`."""
        return cls(home().resolve() / "compare")

    def dataset(self, name: str) -> Path:
        """The file of a dataset."""
        return self.root / "datasets" / f"{name}.h5"

    def run(self, name: str) -> Path:
        """The folder of a run."""
        return self.root / "runs" / name

    def relative(self, path: Path) -> str:
        """How results name a file or a folder: from here, or as a whole where it is elsewhere."""
        whole = path.resolve()
        return str(whole.relative_to(self.root)) if whole.is_relative_to(self.root) else str(whole)

    def read(self, job: str) -> Record | None:
        """The record of a job; None where there is none, or where it is damaged: the job is then done again."""
        path = self._folder(job) / RECORD
        if not path.exists():
            return None
        try:
            return Record(**read_report(path))
        except (LewmError, TypeError):
            return None

    def write(self, job: str, record: Record) -> None:
        """Notes what became of a job."""
        write_report(self._folder(job) / RECORD, record)

    def forget(self, job: str) -> None:
        """Removes the record of a job, so that it is done again."""
        (self._folder(job) / RECORD).unlink(missing_ok=True)

    @contextmanager
    def locked(self, job: str, alone: bool) -> Iterator[bool]:
        """Holds the lock of a job for the length of the block; yields False where another process holds it.

        Args:
            job: The job.
            alone: Whether no other process takes part, so that the work can be done where there are no locks.

        Raises:
            LewmError: There are no locks here, and others take part; or the folder cannot be written.
        """
        folder = self._folder(job)
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            try:
                held = stack.enter_context(writing(folder))
            except LockedError:
                yield False
                return
            if not held and not alone:
                raise LewmError(
                    f"{folder}: cannot be locked, so processes cannot share the work here",
                    "Put LEWM_HOME on a disk with locks, or use one process.",
                )
            yield True

    def at_work(self) -> list[str]:
        """The jobs, of any specification, whose locks are held by some process."""
        found = []
        for lock in (self.root / "jobs").glob(f"*/{LOCK}"):
            with self.locked(lock.parent.name, alone=True) as free:  # a process that was killed leaves its lock behind
                if not free:
                    found.append(lock.parent.name)
        return found

    def _folder(self, job: str) -> Path:
        return self.root / "jobs" / job
