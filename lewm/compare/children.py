"""Processes of this machine that share a comparison: begins them, watches them, and ends them with this one."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from lewm.compare.work import POLL, OnProgress, States
from lewm.errors import LewmError
from lewm_data.machine import cores

CHILD = "LEWM_COMPARE_CHILD"  # a variable of the environment of those processes
THREADS = "OMP_NUM_THREADS"  # PyTorch reads it when it is imported
LAST_WORDS = 2000  # characters

log = logging.getLogger(__name__)


def run_children(commands: Sequence[Sequence[str]], logs: Path, states: States, on_progress: OnProgress) -> None:
    """Runs commands, each in a process of its own, until all have ended; one that fails is told at once.

    The threads of the machine are divided between them. A signal that ends this process ends them too, each with what
    it has finished; so does the death of this process.

    Args:
        commands: What each process runs.
        logs: Folder for what they say.
        states: The jobs that they do, for the progress.
        on_progress: Called about once a second.

    Raises:
        LewmError: All processes failed; has the last words of the last one.
    """
    logs.mkdir(parents=True, exist_ok=True)
    threads = os.environ.get(THREADS, str(max(1, cores() // len(commands))))
    environment = {**os.environ, THREADS: threads, CHILD: "1"}
    said = [logs / f"process-{number}.log" for number in range(len(commands))]
    with ExitStack() as stack:
        children = []
        for command, log_of in zip(commands, said, strict=True):
            file = stack.enter_context(log_of.open("wb"))
            child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,  # its end tells the child that this process is no more
                stdout=subprocess.DEVNULL,
                stderr=file,
                env=environment,
                start_new_session=True,  # Ctrl-C comes to this process alone, which passes on a single signal
            )
            children.append(stack.enter_context(child))
            stack.callback(_end, child)
        failures: dict[int, LewmError] = {}
        while True:
            for number, (child, log_of) in enumerate(zip(children, said, strict=True)):
                if child.poll() and number not in failures:
                    failures[number] = _failure(number, len(commands), child.returncode, log_of)
                    log.warning("%s. The others go on.", failures[number].problem)
            if all(child.returncode is not None for child in children):
                break
            states.look_at_all()
            doing = [states.jobs[name].title for name in states.place.at_work(states.jobs)]
            on_progress(states.progress(doing))
            time.sleep(POLL)
    if len(failures) == len(commands):
        raise failures[max(failures)]


def end_with_parent() -> None:
    """In a process of `run_children`: makes it end, as by SIGTERM, when the process that began it is no more."""
    if CHILD not in os.environ:
        return

    def wait() -> None:
        os.read(0, 1)  # standard input, which stays empty until it ends; Python's own reader would hinder its exit
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def _failure(number: int, of: int, code: int, log_of: Path) -> LewmError:
    words = log_of.read_text("utf-8", "replace")[-LAST_WORDS:].strip().splitlines()
    return LewmError(
        f"process {number} of {of} ended with {code}: {' '.join(words[-2:])}",
        f"{log_of} has all that it said. Give the same command again: it goes on.",
    )


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
        child.wait()
