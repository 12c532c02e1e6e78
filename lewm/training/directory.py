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
    """The directory already holds something."""


@contextlib.contextmanager
def claimed(wanted: Path, numbered: bool) -> Iterator[Path]:
    """A new run directory, locked for the length of the block; removed after the block if it has no config.json.

    Files of a training that was killed before it wrote its config.json are no obstacle.

    Args:
        wanted: The directory.
        numbered: Whether the next free one of `wanted`-2, `wanted`-3, ... is taken where `wanted` is not free.

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


def refuse_imported(directory: Path) -> None:
    """Raises where a run was imported, so that no training of it can be resumed.

    Raises:
        LewmError: it was; says what can be trained instead.
    """
    origin = run.read_origin(directory)
    if origin is not None:
        raise LewmError(
            f"{directory}: was imported from {origin}, not trained here: there is no training to go on with",
            "Train a run of your own. Its encoder can be the frozen one of this run: see docs/checkpoints.md.",
        )


@contextlib.contextmanager
def resumed(directory: Path, config: Config, dataset: run.DatasetIdentity) -> Iterator[Path]:
    """A run's directory, locked for the length of the block.

    Args:
        directory: The run's directory.
        config: The configuration that the run has to have.
        dataset: The dataset that it has to be trained on, wherever that lies now.

    Raises:
        LewmError: it is no run, has another configuration or other data, is being written, or cannot be written.
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
    """Claim one directory. If `fresh`, it has to be made here, or the lock has to show that nobody else holds it."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=not missing)
    except FileExistsError as error:  # another process has made it in between, or it is no directory
        if not directory.is_dir():
            raise TakenError(f"{directory}: exists and is not a directory", "Choose another --out.") from error
        missing = []
    except OSError as error:
        raise LewmError(
            f"{directory}: cannot be made: {error.strerror}", "Give --out a directory that can be written."
        ) from error
    if not (directory / locks.LOCK).exists():  # where there is a lock, it decides, and says who holds it
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
                with contextlib.suppress(OSError):  # it is not empty: another training has begun there
                    path.rmdir()


def _refuse_taken(directory: Path) -> None:
    """Raises where something is there. Hidden files, which a killed training or a desktop leaves, are no obstacle."""
    if not all(path.name.startswith(".") for path in directory.iterdir()):
        resume = f", or continue it with --resume --out {shlex.quote(str(directory))}"
        raise TakenError(
            f"{directory}: exists and is not empty",
            f"Choose another --out{resume if (directory / run.CONFIG).exists() else ''}.",
        )
