"""Explains errors in one place for all commands: the cause, then what to do about it in the command at hand."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator

from lewm_cli import interruption

# How to name another place for what a command writes.
_COPY = "copy the run to a place where you may write and give --run the copy"
_ELSEWHERE = {
    "collect": "name another file with --out",
    "train": "name another folder with --out",
    "report": "name another folder with --out",
    "compare": "name another folder with --out, and another LEWM_HOME",
    "envs": "name another file with --out",
    "checkpoint": "name another folder with --out",
    "plan": _COPY,
    "probe": _COPY,
    "surprise": _COPY,
    "decode": _COPY,
}

# How to make a command need less memory, on any device.
_SMALLER = {
    "collect": "use fewer --workers, fewer --num-envs or a smaller --frame-size",
    "train": "use a smaller --batch-size",
    "plan": "use a smaller --batch or fewer --samples",
    "probe": "use fewer --episodes",
    "surprise": "give a shorter video, or fewer --episodes with --suite",
}
_HAVE_DEVICE = ("train", "plan", "probe", "surprise", "decode")

# The extra of this project that installs a module.
EXTRAS = {
    "av": "video",
    "PIL": "video",
    "matplotlib": "plot",
    "sklearn": "tsne",
    "pymunk": "push-t",
    "mujoco": "mujoco",
    "dm_control": "mujoco",
    "ogbench": "mujoco",
    "huggingface_hub": "hub",
    "pyarrow": "formats",
    "lance": "formats",
    "hdf5plugin": "formats",
    "blosc2": "formats",
    "zlib_ng": "formats",
}

# How libraries write the system's number of an error into their messages: HDF5, then Rust, then Python.
_NUMBER = re.compile(r"(?:errno = |\(os error |\[Errno )(\d+)")
_FILE = re.compile(r"filename = '([^']*)'")
_NO_MEMORY = re.compile(r"out of memory|(?:can't|cannot|could not|unable to) allocate", re.IGNORECASE)


def explain(error: BaseException, command: str = "") -> tuple[str, str]:
    """What was expected and what was got, then what to do next in `command`."""
    if isinstance(error, KeyboardInterrupt):
        return interruption.words(error, command)
    if hasattr(error, "problem") and hasattr(error, "remedy"):  # LewmError, DataError
        return str(error.problem), str(error.remedy)
    for one in _causes(error):
        known = _memory(one, command) or _disk(one, command)
        if known:
            return known
    return _user(error) or _system(error, command) or _missing(error) or _backend(error) or _unforeseen(error)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and the errors that caused it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def first_line(error: BaseException) -> str:
    """The first line of an error's message."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _number(error: BaseException) -> int | None:
    """The system's number of an error, which libraries hide in their texts."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    found = _NUMBER.search(str(error))
    return int(found[1]) if found else None


def _where(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        name = error.filename
        return f"{os.fsdecode(name) if isinstance(name, bytes) else name}: "
    found = _FILE.search(str(error))
    return f"{found[1]}: " if found else ""


def _memory(error: BaseException, command: str) -> tuple[str, str] | None:
    of_device = type(error).__name__ == "OutOfMemoryError"  # torch's error; torch need not be installed
    of_torch = isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error))
    if not (of_device or of_torch or isinstance(error, MemoryError) or _number(error) == errno.ENOMEM):
        return None
    choices = [_SMALLER[command]] if command in _SMALLER else []
    if of_device and command in _HAVE_DEVICE:
        choices.append("use --device cpu")
    choices.append("close other programs")
    remedy = ", or ".join(choices)
    return (
        f"the device's memory is too small: {first_line(error)}"
        if of_device
        else "the machine's memory is too small for this",
        f"{remedy[0].upper()}{remedy[1:]}.",
    )


def _disk(error: BaseException, command: str) -> tuple[str, str] | None:
    causes = {
        errno.ENOSPC: "Make room on that disk",
        errno.EDQUOT: "Make room within your quota",
        errno.EFBIG: 'Raise the limit on the size of files that "ulimit -f" shows',
    }
    number = _number(error)
    if number not in causes:
        return None
    return f"{_where(error)}{os.strerror(number)}", f"{causes[number]}, or {_elsewhere(command)}."


def _elsewhere(command: str) -> str:
    return _ELSEWHERE.get(command, "write to another disk")


def _user(error: BaseException) -> tuple[str, str] | None:
    from lewm_data.blame import raised_by_user

    raised = raised_by_user(error)
    if raised is None:
        return None
    return raised, "This is code of your own or of your environment's, not lewm's: LEWM_DEBUG=1 shows the traceback."


def _system(error: BaseException, command: str) -> tuple[str, str] | None:
    """Anything else that the operating system refused."""
    number = _number(error)
    if number is None or not isinstance(error, OSError):
        return None
    remedies = {
        errno.EROFS: f"It cannot be written to: {_elsewhere(command)}.",
        errno.EACCES: f'See who may use it with "ls -ld", or {_elsewhere(command)}.',
        errno.EPERM: f'See who may use it with "ls -ld", or {_elsewhere(command)}.',
        errno.EMFILE: 'Raise the limit on open files: "ulimit -n 4096", then the same command again.',
        errno.ENFILE: "All programs together have too many files open: close some of them.",
        errno.ENOENT: "Check how the path is written: nothing is there.",
        errno.ENOTDIR: "Check how the path is written: a part of it is a file, not a folder.",
        errno.EISDIR: "Check how the path is written: a folder is there, not a file.",
        errno.ENAMETOOLONG: "Use a shorter name.",
        errno.EEXIST: "Something is there already: move it away, or use another name.",
        errno.EIO: "The disk or the network failed at this file: try it from another one.",
        errno.ESTALE: "The network lost this file: try again, or use a copy on a disk of this machine.",
        errno.EBUSY: "Another program uses it: close that, then give the same command again.",
    }
    strerror = error.strerror if error.errno and error.strerror and not _NUMBER.search(error.strerror) else None
    return (
        f"{_where(error)}{strerror or os.strerror(number)}",
        remedies.get(number, "The operating system refused this: check the path and the disk that it is on."),
    )


def _missing(error: BaseException) -> tuple[str, str] | None:
    """A package that is not installed, or cannot be imported."""
    if not isinstance(error, ImportError):
        return None
    from lewm.errors import INSTALL

    package = (error.name or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or not package:
        return f"{package or 'a package'} cannot be imported: {first_line(error)}", "Install that package anew."
    install = INSTALL.format(EXTRAS.get(package, "all"))
    return f"{package} is needed here and is not installed", f"Run in the checkout of lewm: {install}"


def _backend(error: BaseException) -> tuple[str, str] | None:
    if type(error).__name__ != "BackendError":  # from lewm_kernels, which need not be imported here
        return None
    return first_line(error), '"lewm doctor" shows what runs here; without LEWM_KERNELS, lewm chooses by itself.'


def _unforeseen(error: BaseException) -> tuple[str, str]:
    return (
        f"{type(error).__name__}: {first_line(error)}",
        "This is not expected. Give the command again with LEWM_DEBUG=1 in front: the traceback says where it "
        "happened. You can pass it on to the people from whom you have lewm.",
    )
