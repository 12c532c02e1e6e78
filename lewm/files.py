"""Where datasets and runs are kept, and writing files whole or not at all."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from lewm.errors import LewmError


def home() -> Path:
    """`$LEWM_HOME`, by default `~/.lewm`; holds datasets/<name>.h5 and runs/<name>/."""
    return Path(os.environ.get("LEWM_HOME") or Path.home() / ".lewm").expanduser()


def file_name(env: str) -> str:
    """What files of an environment are called: its name with "-" for what no file's name should have.

    "ALE-Pong-v5" for "ALE/Pong-v5", "my_package-MyEnv-v0" for "my_package:MyEnv-v0".
    """
    return re.sub(r"[^\w.-]", "-", env)


def newest_dataset(env: str | None = None) -> Path:
    """The dataset written to last; with `env`, of those that `lewm collect` names after that environment.

    Raises:
        LewmError: there is none.
    """
    found = list((home() / "datasets").glob("*.h5"))
    if env is not None:
        named = re.compile(re.escape(file_name(env)) + r"(-\d+)?")  # `unused` appends the number
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
        raise LewmError(f"no run in {home() / 'runs'}", 'Train one with "lewm train", or give --run.')
    return max(found, key=lambda path: path.stat().st_mtime).parent


def unused(path: Path) -> Path:
    """`path`, or where that exists the same with -2, -3, ... before its ending."""
    candidate, number = path, 2
    while candidate.exists():
        candidate, number = path.with_name(f"{path.stem}-{number}{path.suffix}"), number + 1
    return candidate


def report_path(run: Path, kind: str) -> Path:
    """A free name for a report in a run, "plan-20260321-141500.json"; its pictures go into a folder of that name."""
    return unused(run / f"{kind}-{datetime.now(UTC):%Y%m%d-%H%M%S}.json")


def sha256(path: Path) -> str:
    """Digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it when the block ends without an error, else removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file so that it is there whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text)
