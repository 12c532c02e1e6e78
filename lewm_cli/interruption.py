"""Ctrl-C and SIGTERM end a command with two lines that say what is kept and how to go on."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType

RETRY = 0.01  # seconds

# What is kept, and what to do, where a command that is interrupted has not said so itself.
_AGAIN = "Give the same command again."
_ENDED = "interrupted: there is no report of this; the run keeps the {0} that it had, or one whose training had ended"
_WORDS = {
    "train": (
        "interrupted",
        'Where the run has a checkpoint, "lewm train --resume" goes on from it; else give the same command again.',
    ),
    "plan": ("interrupted: there is no report of these plans, and the model is as it was", _AGAIN),
    "probe": ("interrupted: there is no report of this probe, and the model is as it was", _AGAIN),
    "surprise": ("interrupted: there is no report of this, and the model is as it was", _AGAIN),
    "decode": (
        "interrupted: there is no report of this; a decoder whose training had ended is kept in the run",
        "Give the same command again, without --retrain: it uses what is kept.",
    ),
    "train-head": (_ENDED.format("head"), _AGAIN),
    "train-policy": (_ENDED.format("policy"), _AGAIN),
    "report": ("interrupted: the page was not written, and an earlier one is as it was", _AGAIN),
    "compare": ("interrupted: all that was finished is kept", "Give the same command again: it goes on."),
    "doctor": ("interrupted: the self-tests did not end; they change nothing", _AGAIN),
}


class Terminated(KeyboardInterrupt):
    """SIGTERM as an exception. Code that keeps finished work at Ctrl-C keeps it here too.

    Attributes:
        signal: The number of the signal, as in `lewm.training.interruption.Interrupted`.
    """

    signal = signal.SIGTERM


def listen() -> None:
    """Makes SIGTERM an exception, as Ctrl-C is already, and makes sure that neither is lost.

    Nobody can catch what is raised while Python calls a destructor or a callback of a weak reference (h5py has one for
    each object). A signal that arrives then is sent once more, a moment later.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    signal.signal(signal.SIGTERM, _terminate)
    usual = sys.unraisablehook

    def hook(lost: sys.UnraisableHookArgs) -> None:
        if isinstance(lost.exc_value, KeyboardInterrupt):
            again = signal.SIGTERM if isinstance(lost.exc_value, Terminated) else signal.SIGINT
            threading.Timer(RETRY, signal.raise_signal, [again]).start()
        else:
            usual(lost)

    sys.unraisablehook = hook


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def exit_code(error: BaseException) -> int:
    """128 plus the signal's number, as in shells; 1 for any other failure."""
    if not isinstance(error, KeyboardInterrupt):
        return 1
    return 128 + int(getattr(error, "signal", signal.SIGINT))


def words(error: KeyboardInterrupt, command: str) -> tuple[str, str]:
    """What is kept and how to go on: in the command's own words, or in words that are true at any moment."""
    if error.args:
        problem, _, remedy = str(error.args[0]).partition("\n")
        return problem, remedy
    return _WORDS.get(command, ("interrupted", _AGAIN))
