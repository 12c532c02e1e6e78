"""Errors of a training: they say what is kept in the run, and how to go on."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

from lewm.checkpoints import run
from lewm.config import Config
from lewm.errors import LewmError
from lewm.training.interruption import Interrupted, Interruption
from lewm.training.stages import section_of
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
        if not (run.whole_run(directory) / run.CONFIG).exists():
            raise LewmError(problem, f"{remedy}, then give the same command again.") from error
        raise LewmError(
            f"{problem}; {_said(_kept(run.whole_run(directory)))}",
            f'{remedy}, then go on with "{run.resume_command(directory)}".',
        ) from error


@contextlib.contextmanager
def ending(
    directory: Path, config: Config, interruption: Interruption, begun_here: bool, stage: str | None = None
) -> Iterator[None]:
    """For a block that trains: numbers that are not finite and signals become errors that say what is kept.

    Args:
        directory: The run's directory.
        config: Its configuration.
        interruption: The object that handles the signals.
        begun_here: Whether the directory was claimed for this training. Then nothing stays of a training that is
            interrupted before its first checkpoint, and the same command begins again.
        stage: The name of the stage that is trained; None for the last training.

    Raises:
        LewmError: the loss or the weights are not finite.
        Interrupted: a signal ended the block.
    """
    try:
        yield
    except FloatingPointError as error:
        rounding = " or --precision fp32" if config.training.precision != "fp32" else ""
        key = "training.learning_rate" if stage is None else f"{section_of(stage)}.learning_rate"
        raise LewmError(
            f"{directory}: {error}; {_said(_kept(run.whole_run(directory)))}",
            f"Train anew with a lower --set {key} (now {config.training.learning_rate:g}){rounding}.",
        ) from error
    except KeyboardInterrupt as error:
        number = interruption.arrived or signal.SIGINT
        kept = _kept(directory)
        if kept is None and begun_here:
            for name in (run.CONFIG, run.METRICS):
                (directory / name).unlink(missing_ok=True)
            nothing = "interrupted before a checkpoint was written: nothing is kept"
            raise Interrupted(number, nothing, None) from error
        raise Interrupted(number, f"interrupted: {_said(kept)}", run.resume_command(directory)) from error


def _kept(directory: Path) -> str | None:
    """The newest checkpoint of a run or, before its last training has one, of its stages; None where there is none."""
    if (step := kept_step(directory)) is not None:
        return f"the checkpoint of step {step}"
    stages = run.read_config(directory)[0].stages if (directory / run.CONFIG).exists() else {}
    for name in reversed(stages):
        if (step := kept_step(directory / run.STAGES / name)) is not None:
            return f"the checkpoint of step {step} of the stage {name}"
    return None


def _said(kept: str | None) -> str:
    return "no checkpoint was written yet" if kept is None else f"{kept} is kept"
