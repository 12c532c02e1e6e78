"""One `lewm` command in a forked process, ended by a signal at a chosen moment.

Everything is imported before the fork, so that a command takes as long as its work, and hundreds of them minutes.
A moment is the n-th file operation below the command's folder, or so many seconds after the first.
"""

from __future__ import annotations

import atexit
import functools
import os
import select
import signal
import sys
import threading
import time
import traceback
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
EVENTS = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.truncate", "os.chmod")
LONGEST = 180.0  # seconds that a command may take before it counts as one that does not end
GRACE = 20.0  # seconds that workers have to notice that their parent is dead
SHARED_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Kill:
    """A signal, and its moment: at a file operation counted from 1, or so many seconds after the first."""

    signal: signal.Signals
    operation: int | None = None
    seconds: float | None = None

    def __str__(self) -> str:
        moment = f"at operation {self.operation}" if self.operation else f"after {self.seconds:.3f} s"
        return f"{self.signal.name} {moment}"


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: Its exit status; -9 for one that SIGKILL ended.
        said: What it wrote to both outputs.
        operations: The names of its file operations, in their order.
        seconds: From the first of them to the end.
        left: What it left outside its folder: processes, shared memory.
    """

    code: int
    said: str
    operations: tuple[str, ...]
    seconds: float
    left: tuple[str, ...]


def run(arguments: list[str], folder: Path, kill: Kill | None = None) -> Ended:
    """Run `lewm ARGUMENTS` with `folder`/home as its home; `folder` also gets what it says.

    Raises:
        TimeoutError: it did not end within `LONGEST`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    begun, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(begun)
        _become(arguments, folder, tell, kill)
    os.close(tell)
    try:
        return _watch(pid, begun, folder, kill)
    finally:
        os.close(begun)


def _watch(pid: int, begun: int, folder: Path, kill: Kill | None) -> Ended:
    """Wait for a command, and send it the signal that is due at a time."""
    deadline = time.monotonic() + LONGEST
    select.select([begun], [], [], LONGEST)
    start = time.monotonic()
    if kill is not None and kill.seconds is not None:
        ended = _wait(pid, start + kill.seconds)
        if ended is None:
            os.kill(pid, kill.signal)
            ended = _wait(pid, deadline)
    else:
        ended = _wait(pid, deadline)
    seconds = time.monotonic() - start
    if ended is None:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise TimeoutError(f"it did not end within {LONGEST:.0f} s")
    operations = _names_of(folder).read_text(errors="replace").splitlines()
    text = _said_in(folder).read_text(errors="replace")
    return Ended(os.waitstatus_to_exitcode(ended), text, tuple(operations), seconds, tuple(_left_by(pid)))


def _said_in(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.said")


def _names_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.operations")


def _wait(pid: int, deadline: float) -> int | None:
    """The status of a child that ended before `deadline`."""
    handle = os.pidfd_open(pid)
    try:
        select.select([handle], [], [], max(0.0, deadline - time.monotonic()))
    finally:
        os.close(handle)
    done, status = os.waitpid(pid, os.WNOHANG)
    return status if done else None


def _left_by(session: int) -> list[str]:
    """Processes of a session that stay although its leader has ended, and its blocks of shared memory."""
    deadline = time.monotonic() + GRACE
    while (alive := _processes_of(session)) and time.monotonic() < deadline:
        time.sleep(0.02)
    for pid in alive:
        os.kill(pid, signal.SIGKILL)
    blocks = SHARED_MEMORY.glob(f"lewm-{session}-*") if SHARED_MEMORY.is_dir() else ()
    return [f"process {pid}" for pid in alive] + [str(block) for block in blocks]


def _processes_of(session: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, of = status.read_text(errors="replace").rpartition(")")[2].split()[:4]
        except (OSError, ValueError):  # it has just ended
            continue
        if int(of) == session and state != "Z":
            found.append(int(status.parent.name))
    return found


def _become(arguments: list[str], folder: Path, tell: int, kill: Kill | None) -> NoReturn:
    """Be the command, in the forked process."""
    from lewm_cli.main import main

    code = 1
    try:
        os.setsid()
        output = os.open(_said_in(folder), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(output, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ["LEWM_HOME"] = str(folder / "home")
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        sys.modules["__main__"] = types.ModuleType("__main__")  # workers that are spawned would import the campaign
        sys.argv = ["lewm", *arguments]
        _Operations(folder, tell, kill).count()
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        threading._shutdown()  # type: ignore[attr-defined]  # Python does the same at its end
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


class _Operations:
    """Counts the file operations of this process below a folder, writes their names down, and kills at one of them."""

    def __init__(self, folder: Path, tell: int, kill: Kill | None) -> None:
        self.folder, self.tell, self.kill = f"{folder}/", tell, kill
        self.names = os.open(_names_of(folder), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self.done = 0

    def count(self) -> None:
        """From now on, Python reports its operations on files, and libraries report their calls that write."""
        import fcntl

        import h5py
        import safetensors.torch

        sys.addaudithook(self._audit)
        targets: tuple[tuple[Any, str], ...] = (
            (h5py.File, "flush"),
            (safetensors.torch, "save_file"),
            (fcntl, "flock"),
            (os, "fsync"),
            (os, "posix_fallocate"),
        )
        for owner, name in targets:
            setattr(owner, name, self._counted(name, getattr(owner, name)))

    def _counted(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            if self._due(name):
                if name == "save_file" and self._kills(signal.SIGKILL):  # this leaves an incomplete file
                    function(*arguments, **options)
                    path = Path(arguments[1])
                    os.truncate(path, path.stat().st_size // 2)
                self._strike()
            return function(*arguments, **options)

        return call

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" and event not in EVENTS:
            return
        path = arguments[0]
        if not isinstance(path, str | bytes | os.PathLike) or not os.fsdecode(path).startswith(self.folder):
            return
        if event == "open" and not arguments[2] & WRITES:
            self._begin()
        elif self._due(f"{event} {Path(os.fsdecode(path)).name}"):
            self._strike()

    def _begin(self) -> None:
        if self.tell >= 0:
            os.close(self.tell)  # the campaign notices this
            self.tell = -1

    def _due(self, name: str) -> bool:
        """One more operation is about to happen; whether it is the one to kill at."""
        self._begin()
        self.done += 1
        os.write(self.names, name.replace("\n", " ").encode(errors="replace") + b"\n")
        return self.kill is not None and self.kill.operation == self.done

    def _kills(self, by: signal.Signals) -> bool:
        return self.kill is not None and self.kill.signal == by

    def _strike(self) -> None:
        assert self.kill is not None
        os.kill(os.getpid(), self.kill.signal)
