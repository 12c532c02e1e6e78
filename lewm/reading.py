"""Reads text files that people write or pass on: JSON and TOML, of bounded size and depth. Any fault is a LewmError."""

from __future__ import annotations

import json
import stat
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lewm.errors import LewmError

MOST_BYTES = 2**20  # the size of a file; a configuration has 5,000
DEEPEST = 32  # tables within tables; a configuration has 4
MOST_BITS = 4096  # in a whole number: Python prints only so many digits, and a message may have to show them
MOST_DOTS = 64  # in a line of TOML: the time of tomllib grows with the square of the parts of a dotted key

KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def check_file(path: Path, remedy: str, most: int | None = None) -> None:
    """Raises unless `path` leads to a file. Called before anything opens it: opening a pipe would wait for ever.

    Args:
        path: A link counts as what it leads to.
        remedy: The second line of the error.
        most: Bytes that it may have.

    Raises:
        LewmError: Nothing is there, it is no file, or it is larger.
    """
    try:
        found = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise LewmError(f"{path}: {reason}", remedy) from error
    if not stat.S_ISREG(found.st_mode):
        kind = KINDS.get(stat.S_IFMT(found.st_mode), "no file")
        raise LewmError(f"{path}: is {kind}, expected a file", remedy)
    if most is not None and found.st_size > most:
        raise LewmError(f"{path}: has {found.st_size:,} bytes, at most {most:,} are read", remedy)


@contextmanager
def decoding(path: Path, problem: str, remedy: str) -> Iterator[None]:
    """Turns whatever a decoder of `path` raises in the block into a LewmError; errors of ours stay.

    Every exception is turned, because a damaged file makes decoders raise errors that their authors did not think of.
    The error has the first line of its message. A MemoryError stays: the size of files is checked before.

    Args:
        problem: For example "is not a file of tensors".
        remedy: The second line.
    """
    try:
        yield
    except (LewmError, MemoryError):
        raise
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise LewmError(f"{path}: {problem} ({reason:.200})", remedy) from error


def read_json(path: Path, remedy: str, most: int = MOST_BYTES) -> Any:  # noqa: ANN401
    """What a JSON file holds. Its tables have each key once.

    Args:
        path: The file.
        remedy: The second line of every error.
        most: Bytes that it may have.

    Raises:
        LewmError: It cannot be read, is larger, is not JSON, or has tables or numbers beyond `DEEPEST` and `MOST_BITS`.
    """
    return parse_json(read_text(path, remedy, most), str(path), remedy)


def parse_json(text: str, source: str, remedy: str) -> Any:  # noqa: ANN401
    """What a text in JSON holds, see `read_json`; errors name its `source`."""
    try:
        return _bounded(json.loads(text, object_pairs_hook=_each_once))
    except (ValueError, RecursionError) as error:
        raise LewmError(f"{source}: is not JSON: {_reason(error)}", remedy) from error


def read_toml(path: Path, remedy: str) -> dict[str, Any]:
    """What a TOML file holds.

    Raises:
        LewmError: It cannot be read, is larger than `MOST_BYTES`, is not TOML, or has lines, tables or numbers beyond
            `MOST_DOTS`, `DEEPEST` and `MOST_BITS`.
    """
    text = read_text(path, remedy)
    try:
        return parse_toml(text)
    except ValueError as error:
        raise LewmError(f"{path}: is not TOML: {_reason(error)}", remedy) from error


def parse_toml(text: str) -> dict[str, Any]:
    """The table that a text in TOML stands for.

    Raises:
        ValueError: The text is not TOML, or exceeds the limits.
    """
    for number, line in enumerate(text.split("\n"), 1):
        if line.count(".") > MOST_DOTS and not line.lstrip().startswith("#"):
            raise ValueError(f"line {number} has more than {MOST_DOTS} dots")
    try:
        return _bounded(tomllib.loads(text))
    except RecursionError as error:
        raise ValueError(_reason(error)) from error


def read_text(path: Path, remedy: str, most: int = MOST_BYTES) -> str:
    """A text file in UTF-8.

    Raises:
        LewmError: It cannot be read, has more than `most` bytes, or is no text.
    """
    check_file(path, remedy, most)
    try:
        return path.read_text("utf-8-sig")
    except OSError as error:
        raise LewmError(f"{path}: {error.strerror or error}", remedy) from error
    except UnicodeDecodeError as error:
        raise LewmError(f"{path}: is not text in UTF-8", remedy) from error


def _bounded(tree: Any) -> Any:  # noqa: ANN401
    """`tree`, if it is not too deep and no whole number in it is too long."""
    level = [tree]
    for _ in range(DEEPEST):
        if any(isinstance(value, int) and value.bit_length() > MOST_BITS for value in level):
            raise ValueError(f"a whole number has more than {MOST_BITS} bits")
        level = [
            inner
            for value in level
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return tree
    raise ValueError(f"it is nested deeper than {DEEPEST} levels")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r:.80} is there twice")
    return table


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return f"it is nested deeper than {DEEPEST} levels"
    if "integer string conversion" in str(error):
        return "a whole number has thousands of digits"
    return str(error).splitlines()[0]
