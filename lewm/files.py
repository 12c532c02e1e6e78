"""The places of datasets and runs, and functions that write files whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import safetensors

from lewm.errors import LewmError
from lewm_data import temporary

log = logging.getLogger(__name__)


def home() -> Path:
    """`$LEWM_HOME`, by default `~/.lewm`; holds datasets/<name>.h5 and runs/<name>/."""
    return Path(os.environ.get("LEWM_HOME") or Path.home() / ".lewm").expanduser()


def file_name(env: str) -> str:
    """What files of an environment are called: its name, with "-" for characters that a file's name should not have.

    For example "ALE-Pong-v5" for "ALE/Pong-v5", and "my_package-MyEnv-v0" for "my_package:MyEnv-v0".
    """
    return re.sub(r"[^\w.-]", "-", env)


def newest_dataset(env: str | None = None) -> Path:
    """The dataset written to last; with `env`, the last of those that `lewm collect` names after that environment.

    Raises:
        LewmError: there is none.
    """
    found = list((home() / "datasets").glob("*.h5"))
    if env is not None:
        named = re.compile(re.escape(file_name(env)) + r"(-\d+)?")  # `claimed` appends the number
        found = [path for path in found if named.fullmatch(path.stem)]
    if not found:
        raise LewmError(f"no dataset in {home() / 'datasets'}", 'Make one with "lewm collect", or give --data.')
    return max(found, key=lambda path: path.stat().st_mtime)


def newest_run() -> Path:
    """The run begun last.

    Raises:
        LewmError: there is none.
    """
    found = list((home() / "runs").glob("*/config.json"))
    if not found:
        raise LewmError(f"no run in {home() / 'runs'}", 'Train one with "lewm train", or give the directory of one.')
    return max(found, key=lambda path: path.stat().st_mtime).parent


def sha256(path: Path) -> str:
    """Digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path, renamed to `path` when the block ends without an error, else removed.

    Raises:
        OSError: It cannot be written, for example because the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.replacing(path) as written:
            yield written
    except safetensors.SafetensorError as error:  # its own type for an error of the operating system
        refused = re.search(r"\(os error (\d+)\)", str(error))
        if refused is None:
            raise
        raise OSError(int(refused[1]), os.strerror(int(refused[1])), str(path)) from error


@contextmanager
def caching(path: Path) -> Iterator[None]:
    """For a block that writes `path` into `$LEWM_HOME/cache`: where that fails, a warning says so and work goes on."""
    try:
        yield
    except OSError as error:
        log.warning("%s: cannot be written, so it is made again the next time: %s", path, error.strerror or error)


def write_text(path: Path, text: str) -> None:
    """Write a text file so that it is there whole or not at all."""
    with replacing(path) as temporary_path:
        temporary_path.write_text(text, encoding="utf-8")


@contextmanager
def making_folder(path: Path, remedy: str) -> Iterator[Path]:
    """A temporary folder, which becomes the folder `path` when the block ends without an error, and is else removed.

    Where an empty folder is there, it stays, and the files are moved into it: it may be the one that the user is in.

    Raises:
        LewmError: Something else has come there in the meantime; says what to do.
        OSError: There is no room.
    """
    place = path.resolve()
    place.parent.mkdir(parents=True, exist_ok=True)
    with temporary.temporary_folder(place) as scratch:
        made = scratch / "made"
        made.mkdir()
        yield made
        check_new_folder(place, remedy)
        if place.is_dir():
            for file in made.iterdir():
                file.rename(place / file.name)
        else:
            made.rename(place)


def check_output(path: Path, remedy: str) -> None:
    """Raise before the work, not after it, where no file can be written at `path`. Nothing is left behind.

    Raises:
        LewmError: It is a folder, a pipe or a device, or its folder cannot be made or written; says why and what to do.
    """
    if path.exists() and not path.is_file():  # a file would take its place, even that of /dev/null
        kind = "a folder" if path.is_dir() else "a pipe or a device"
        raise LewmError(f"{path}: {kind}, expected the name of a file", remedy)
    check_writable(path.parent, remedy)


def check_new_folder(path: Path, remedy: str) -> None:
    """Raise where a folder cannot take the place `path`, because it is taken by more than an empty one.

    Raises:
        LewmError: It is taken; says what to do.
    """
    if path.parent.is_dir():
        temporary.clear(path.parent)  # of what a process left that was killed after the folder was there
    if os.path.lexists(path) and not (path.is_dir() and not any(path.iterdir())):
        raise LewmError(f"{path}: exists and is not an empty folder", remedy)


def check_writable(directory: Path, remedy: str) -> None:
    """Raise before the work where nothing can be written into `directory`, which may not be there yet.

    Raises:
        LewmError: Nothing can be written there; says why, and the remedy.
    """
    existing = next(one for one in (directory, *directory.absolute().parents) if os.path.lexists(one))
    try:
        if not existing.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        with temporary.temporary_folder(existing / "writable"):
            pass
    except OSError as error:
        raise LewmError(f"{directory}: cannot be written to: {error.strerror or error}", remedy) from error
