"""Errors of a training: they say what is kept in the run, and how to go on."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

from lewm.checkpoints import run
from lewm.config import Training
from lewm.errors import LewmError
from lewm.training.interruption import Interrupted, Interruption
from lewm.training.state import kept_step
from lewm_data.disk import NO_ROOM


@contextlib.contextmanager
def writing_into(directory: Path) -> Iterator[None]:
    """For a block that writes into a run: a full disk and the like become an error that says what is kept.

    Raises:
        LewmError: something could not be written.
    """
    try:
        yield
    except OSError as error:
        problem = f"{directory}: cannot be written: {error.strerror or error}"
        remedy = "Make room" if error.errno in NO_ROOM else "Make it writable"
        if not (directory / run.CONFIG).exists():
            raise LewmError(problem, f"{remedy}, then give the same command again.") from error
        raise LewmError(
            f"{problem}; {_kept(directory)}", f'{remedy}, then go on with "{run.resume_command(directory)}".'
        ) from error


@contextlib.contextmanager
def ending(directory: Path, training: Training, interruption: Interruption, begun_here: bool) -> Iterator[None]:
    """For a block that trains: numbers that are not finite and signals become errors that say what is kept.

    Args:
        directory: The run's directory.
        training: The settings of training.
        interruption: The object that handles the signals.
        begun_here: Whether the directory was claimed for this training. Then nothing stays of a training that is
            interrupted before its first checkpoint, and the same command begins again.

    Raises:
        LewmError: the loss or the weights are not finite.
        Interrupted: a signal ended the block.
    """
    try:
        yield
    except FloatingPointError as error:
        rounding = " or --precision fp32" if training.precision != "fp32" else ""
        raise LewmError(
            f"{directory}: {error}; {_kept(directory)}",
            f"Train anew with a lower --set training.learning_rate (now {training.learning_rate:g}){rounding}.",
        ) from error
    except KeyboardInterrupt as error:
        number = interruption.arrived or signal.SIGINT
        if kept_step(directory) is None and begun_here:
            for name in (run.CONFIG, run.METRICS):
                (directory / name).unlink(missing_ok=True)
            raise Interrupted(
                number, "interrupted before a checkpoint was written: nothing is kept", "Give the same command again."
            ) from error
        raise Interrupted(
            number, f"interrupted: {_kept(directory)}", f"To go on: {run.resume_command(directory)}"
        ) from error


def _kept(directory: Path) -> str:
    step = kept_step(directory)
    return "no checkpoint was written yet" if step is None else f"the checkpoint of step {step} is kept"
