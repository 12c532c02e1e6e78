"""Handles Ctrl-C and SIGTERM while a model is trained: the step is finished, and a checkpoint is written."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class Interrupted(KeyboardInterrupt):
    """A training that a signal ended.

    Its text is two lines: what is kept, and how to go on.

    Attributes:
        signal: The number of the signal.
        kept: What is kept.
        command: The command that goes on; None where the same one is to be given again.
    """

    def __init__(self, number: int, kept: str, command: str | None) -> None:
        remedy = "Give the same command again." if command is None else f"To go on: {command}"
        super().__init__(f"{kept}\n{remedy}")
        self.signal, self.kept, self.command = number, kept, command


class Interruption:
    """Handles Ctrl-C and SIGTERM for the length of a `with` block, if the main thread enters it.

    From the first call of `asked` until `settle`, a first signal is only noted, for a loop to ask between its steps.
    Otherwise, and at a second signal, `Interrupted` is raised at once.

    Attributes:
        arrived: The first signal that came, or None.
    """

    def __init__(self) -> None:
        self.arrived: int | None = None
        self._noted = False
        self._before: dict[int, Any] = {}

    def asked(self) -> bool:
        """Whether a signal has come."""
        self._noted = True
        return self.arrived is not None

    def settle(self) -> None:
        """Raise for the signal that was noted, if any; the next one is not noted any more."""
        self._noted = False
        if self.arrived is not None:
            raise _interrupted(self.arrived)

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                # A shell makes a command in the background deaf to Ctrl-C; None is a handler that is not Python's.
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _handle(self, number: int, _: FrameType | None) -> None:
        first = self.arrived is None
        self.arrived = self.arrived or number
        if not (first and self._noted):
            raise _interrupted(self.arrived)


def _interrupted(number: int) -> Interrupted:
    kept = "interrupted before a step was done: nothing new is kept"
    return Interrupted(number, kept, None)
