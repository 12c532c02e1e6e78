"""Where comparisons keep what they made, and what they note of each job: its result, or its error.

$LEWM_HOME/compare/
    datasets/WORLD-DIGEST.h5                          data, shared by all specifications
    runs/WORLD/RECIPE-CHANGES-DIGEST/seed-0           runs, shared likewise; `lewm report --run` shows one
    jobs/NAME/record.json, attempts.json              the notes, and the lock of who is at work on it
    results/SPECIFICATION/compare.json, index.html, files/
"""

from __future__ import annotations

import traceback
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lewm.errors import LewmError
from lewm.files import home
from lewm.locks import LOCK, LockedError, is_held, writing
from lewm.report_files import read_report, write_report

RECORD, ATTEMPTS = "record.json", "attempts.json"
TIMING = "timing"  # who holds this lock times plans, and then nobody else is at work
FINISH = "finish-"  # with the name of a result: who holds this lock writes it
FAILED = "failed"  # in the record of a job that is done but for parts that failed


@dataclass(frozen=True)
class Record:
    """What became of a job.

    Attributes:
        result: What it made: paths are relative to the folder of all comparisons. None where it failed.
        problem, remedy: The two lines of its error; empty where there was none.
        trace: Where an error came from that nobody foresaw.
        seconds: What the attempt took that came to this.
        made_by: The versions and the commit of the program.
    """

    result: dict[str, Any] | None
    problem: str
    remedy: str
    trace: str
    seconds: float
    made_by: dict[str, str]

    @property
    def has_failures(self) -> bool:
        """Whether it is worth another try."""
        return self.result is None or bool(self.result.get(FAILED))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def of_error(cls, error: Exception, seconds: float, root: Path, made_by: dict[str, str]) -> Record:
        """The record of a job that failed; it names paths as results do, from the folder of all comparisons."""
        if hasattr(error, "problem") and hasattr(error, "remedy"):  # LewmError, DataError
            problem, remedy = (str(line).replace(f"{root}/", "") for line in (error.problem, error.remedy))
            return cls(None, problem, remedy, "", seconds, made_by)
        first = next(iter(str(error).splitlines()), "")
        trace = "".join(traceback.format_exception(error))
        problem, remedy = f"{type(error).__name__}: {first}", "The record of the job has the traceback."
        return cls(None, problem, remedy, trace, seconds, made_by)


@dataclass(frozen=True)
class Attempts:
    """When a process was at work on a job: the beginning, in seconds since 1970, and the length of each attempt."""

    attempts: tuple[tuple[float, float], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


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

    def attempts(self, job: str) -> tuple[tuple[float, float], ...]:
        """All attempts at a job that were noted, see `Attempts`; those of processes that were killed are not."""
        try:
            found = read_report(self._folder(job) / ATTEMPTS)["attempts"]
            return tuple((float(begun), float(seconds)) for begun, seconds in found)
        except (LewmError, KeyError, TypeError, ValueError):
            return ()

    def note_attempt(self, job: str, begun: float, seconds: float) -> None:
        """Notes an attempt, whatever came of it; where nothing can be written, the job itself says so."""
        with suppress(OSError, LewmError):
            write_report(self._folder(job) / ATTEMPTS, Attempts((*self.attempts(job), (begun, seconds))))

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

    def is_locked(self, job: str) -> bool:
        """Whether some process holds the lock of a job."""
        return is_held(self._folder(job))

    def at_work(self, among: Collection[str] | None = None) -> list[str]:
        """The jobs that some process is at: of any specification, or those among some."""
        if among is None:
            names = [lock.parent.name for lock in (self.root / "jobs").glob(f"*/{LOCK}")]
            among = [name for name in names if name != TIMING and not name.startswith(FINISH)]
        return [name for name in among if self.is_locked(name)]

    def _folder(self, job: str) -> Path:
        return self.root / "jobs" / job
