"""The directory of a run: claimed by one training at a time."""

from __future__ import annotations

import contextlib
import itertools
import shlex
from collections.abc import Iterator
from pathlib import Path

from lewm import locks
from lewm.checkpoints import run
from lewm.config import Config
from lewm.errors import LewmError
from lewm_data import temporary

OTHER_DIRECTORY = "Wait until it has ended, or give another --out."


class TakenError(LewmError):
    """The directory holds something."""


@contextlib.contextmanager
def claimed(wanted: Path, numbered: bool) -> Iterator[Path]:
    """A new run directory, locked for the length of the block; removed after it if it has got no config.json.

    What a training left that was killed before it wrote its config.json is no obstacle.

    Args:
        wanted: Where.
        numbered: Whether the same with -2, -3, ... will do too, where `wanted` is not free.

    Raises:
        LewmError: `wanted` is not free, or cannot be written.
    """
    others = (wanted.with_name(f"{wanted.name}-{number}") for number in itertools.count(2))
    for directory in itertools.chain([wanted], others if numbered else []):
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(_claim(directory, numbered))
            except (TakenError, locks.LockedError):
                if numbered:
                    continue
                raise
            yield directory
            return


@contextlib.contextmanager
def resumed(directory: Path, config: Config, dataset: run.DatasetIdentity) -> Iterator[Path]:
    """A run's directory, locked for the length of the block.

    Args:
        directory: Of the run.
        config: Which the run has to have.
        dataset: Which it has to be trained on, wherever that lies now.

    Raises:
        LewmError: it is no run, has another configuration or other data, is being written, or cannot be.
    """
    stored, trained_on = run.read_config(directory)
    if stored != config:
        raise LewmError(
            f"{directory}: the configuration differs from the one it was begun with", "Resume without options."
        )
    if trained_on.fingerprint != dataset.fingerprint:
        raise LewmError(
            f"{directory}: was trained on other data than {dataset.path}",
            f"Give --data {trained_on.path} as it was then.",
        )
    with locks.writing(directory, "Wait until it has ended, or train another run with --out."):
        temporary.clear(directory)
        yield directory


@contextlib.contextmanager
def _claim(directory: Path, fresh: bool) -> Iterator[None]:
    """Claim one directory. If `fresh`, it is either made here, or nobody else can hold it."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=not missing)
    except FileExistsError as error:  # made by another process in between, or no directory
        if not directory.is_dir():
            raise TakenError(f"{directory}: exists and is not a directory", "Choose another --out.") from error
        missing = []
    except OSError as error:
        raise LewmError(
            f"{directory}: cannot be made: {error.strerror}", "Give --out a directory that can be written."
        ) from error
    if not (directory / locks.LOCK).exists():  # else the lock decides, and says who holds it
        _refuse_taken(directory)
    try:
        with locks.writing(directory, OTHER_DIRECTORY) as held:
            _refuse_taken(directory)
            if fresh and not (held or missing):
                raise TakenError(f"{directory}: exists, and cannot be locked", "Choose another --out.")
            temporary.clear(directory)
            yield
    finally:
        if not (directory / run.CONFIG).exists():
            for path in missing:
                with contextlib.suppress(OSError):  # it is not empty: another has begun there
                    path.rmdir()


def _refuse_taken(directory: Path) -> None:
    """Raises where something is there. What is hidden is no obstacle: a killed training, or a desktop, has left it."""
    if not all(path.name.startswith(".") for path in directory.iterdir()):
        resume = f", or continue it with --resume --out {shlex.quote(str(directory))}"
        raise TakenError(
            f"{directory}: exists and is not empty",
            f"Choose another --out{resume if (directory / run.CONFIG).exists() else ''}.",
        )
