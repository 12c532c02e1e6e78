"""Inputs read in forked processes, so that a crash, too much memory or an endless loop is one input's and no more.

A process reads one input after the other, and tells what became of each. Where it dies or does not answer, the input at
hand is at fault and another process goes on with the next.
"""

from __future__ import annotations

import json
import os
import resource
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, NoReturn

MEMORY = 3 << 30  # bytes of addresses that reading an input may take beside what the imports took
FILE_SIZE = 256 << 20  # the most bytes of any file that is written on the way
LONGEST = 60.0  # seconds for one input, after which it counts as one that does not end
ACCEPTED, REFUSED, FAULT, UNMADE = "accepted", "refused", "fault", "not made"
MADE = "made"  # the message of a process before it reads


@dataclass(frozen=True)
class Reader:
    """What is fuzzed.

    Attributes:
        name: For `--reader` and the summary.
        count: Inputs by default.
        make: Writes a mutated input into an empty folder, and returns what `read` takes.
        read: Reads it. Returns where it is accepted; raises an error of the project where it is refused.
    """

    name: str
    count: int
    make: Callable[[Random, Path], Any]
    read: Callable[[Any], None]


@dataclass(frozen=True)
class Outcome:
    """The outcome of an input, and the message; "not made" means that a library would not write it, no fault."""

    index: int
    kind: str
    said: str


class WrongError(Exception):
    """A reader's own judgement: what it did with an input is wrong."""


def outcomes(reader: Reader, seed: int, indices: range, folder: Path) -> Iterator[Outcome]:
    """Read the inputs of these numbers; each is a function of (seed, reader, number)."""
    waiting = list(indices)
    while waiting:
        for outcome in _in_one_process(reader, seed, waiting, folder):
            assert outcome.index == waiting[0]
            del waiting[0]
            yield outcome


def _in_one_process(reader: Reader, seed: int, indices: list[int], folder: Path) -> Iterator[Outcome]:
    """Takes as many as a process survives, and at least one."""
    receive, send = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(receive)
        _read_all(reader, seed, indices, folder, send)
    os.close(send)
    expected, rest, made, late = iter(list(indices)), b"", False, False
    with os.fdopen(receive, "rb", buffering=0) as stream:
        while not late:
            ready, _, _ = select.select([stream], [], [], LONGEST)
            late = not ready
            block = b"" if late else stream.read(1 << 16)
            if not block:
                break
            *lines, rest = (rest + block).split(b"\n")
            for kind, said in map(json.loads, lines):
                made = kind == MADE
                if not made:
                    yield Outcome(next(expected), kind, said)
    if late:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    unread = next(expected, None)
    if unread is not None:
        died = f"no end within {LONGEST:.0f} s" if late else f"the process died: {_named(status)}"
        yield Outcome(unread, FAULT if made else UNMADE, died)


def _named(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return signal.Signals(-code).name if code < 0 else f"exit {code}"


def _read_all(reader: Reader, seed: int, indices: list[int], folder: Path, send: int) -> NoReturn:
    """The work of the forked process."""
    import logging

    os.setsid()
    logging.disable()
    said = os.open(folder / "said", os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(said, stream)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_SIZE, FILE_SIZE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the size is then an error
    for index in indices:
        place = folder / "input"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        os.chdir(place)
        os.ftruncate(1, 0)
        try:
            given = reader.make(Random(f"{seed} {reader.name} {index}"), place)
        except Exception as error:
            _tell(send, UNMADE, f"{type(error).__name__}: {error}")
            continue
        _tell(send, MADE, "")
        _tell(send, *_judged(reader, given))
    os._exit(0)


def _tell(send: int, kind: str, said: str) -> None:
    os.write(send, json.dumps([kind, said]).encode() + b"\n")


def _judged(reader: Reader, given: Any) -> tuple[str, str]:
    try:
        reader.read(given)
    except WrongError as fault:
        return FAULT, str(fault)
    except BaseException as error:
        said = f"{type(error).__name__}: {error}"
        return (REFUSED, said[:300]) if is_ours(error) else (FAULT, f"{_where(error)}{said[:500]}")
    return ACCEPTED, ""


def make_again(reader: Reader, seed: int, index: int, place: Path) -> None:
    """Make one input once more, to keep it; in a process of its own, which the making may end."""
    pid = os.fork()
    if pid == 0:
        try:
            reader.make(Random(f"{seed} {reader.name} {index}"), place)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def is_ours(error: BaseException) -> bool:
    """An error of the project: a first line that is the problem and a second that is the remedy."""
    lines = str(error).splitlines()
    ours = any(base.__name__ in ("LewmError", "DataError") for base in type(error).__mro__)
    return (ours or type(error) is ValueError) and len(lines) >= 2


def _where(error: BaseException) -> str:
    """The last place in the project that the error went through."""
    place, trace = "", error.__traceback__
    while trace is not None:
        path = Path(trace.tb_frame.f_code.co_filename)
        if "lewm" in path.parent.as_posix() and "campaigns" not in path.parts[-2] and "site-packages" not in path.parts:
            place = f"{'/'.join(path.parts[-2:])}:{trace.tb_lineno} "
        trace = trace.tb_next
    return place


def command(arguments: list[str]) -> None:
    """Run a `lewm` command in this process, and judge it by what a person sees.

    Raises:
        WrongError: a traceback, an error that is "not expected", escape sequences, an exit status that no command has.
        ValueError: it was refused as it should be.
    """
    from lewm_cli.main import main

    sys.argv = ["lewm", *arguments]
    began, code = time.monotonic(), 0
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    sys.stdout.flush()
    sys.stderr.flush()
    size = os.lseek(1, 0, os.SEEK_END)
    said = os.pread(1, min(size, 1 << 20), 0).decode(errors="replace")
    end_of_it = " ".join(said[max(0, said.rfind("error:")) :].split())[:400]
    if code not in (0, 1, 2):
        raise WrongError(f"exit {code} after {time.monotonic() - began:.0f} s: {end_of_it}")
    for sign in ("Traceback", "This is not expected", "\x1b"):
        if sign in said:
            raise WrongError(f"{sign!r} in: {end_of_it} | {arguments}")
    if code:
        raise ValueError(f"exit {code}\n{end_of_it}")
