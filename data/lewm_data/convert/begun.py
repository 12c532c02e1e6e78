"""What an earlier try of a conversion has left, with which the same command goes on."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from lewm_data.convert.request import Request
from lewm_data.disk import claim
from lewm_data.errors import DataError
from lewm_data.store.dataset import Dataset
from lewm_data.store.left_out import CONVERSION, LeftOut
from lewm_data.store.merge import last_tried


class OtherError(DataError):
    """A dataset that was made in another way, or of another source."""


class CompleteError(DataError):
    """A conversion that has been done already."""


@dataclass(frozen=True)
class Begun:
    """How far a conversion is.

    Attributes:
        path: The file that it writes, which becomes `out` when it is complete; in most cases `out` itself.
        done: How many episodes of the part need not be converted any more.
        left_out: Those of them that could not be read.
    """

    path: Path
    done: int = 0
    left_out: tuple[LeftOut, ...] = ()


def begun(request: Request, settings: str, numbers: range) -> Begun:
    """How far an earlier try has come.

    With `overwrite`, a complete file stays until the new one is. That is written beside it until then, and gone on with
    where it is of the same conversion; so is `out`, where that is an unfinished file of the same conversion.

    Args:
        request: What to convert, and how.
        settings: All on which the rows of the dataset depend.
        numbers: The numbers of the episodes of the part.

    Raises:
        DataError: `out` is another dataset, or all is done; or, with `overwrite`, another program uses it.
    """
    if request.overwrite:
        return _beside(request.out, settings, numbers)
    if not request.out.exists():
        return Begun(request.out)
    found, new = _found(request.out, settings, numbers), _new(request.out)
    rest = f"; an interrupted --overwrite has left {new}" if new.is_file() else ""
    if found is None:
        raise OtherError(
            f"{request.out}: exists already, and is not of this conversion{rest}",
            "Name another file with --out, or replace it with --overwrite.",
        )
    if found.done == len(numbers):
        without = f", without {len(found.left_out)} episodes that could not be read" if found.left_out else ""
        raise CompleteError(
            f"{request.out}: is complete already{without}{rest}", "Use it, or replace it with --overwrite."
        )
    return found


def _new(out: Path) -> Path:
    """Where the file is written that replaces another, until it is complete."""
    return out.with_name(f".{out.name}.new")


def _beside(out: Path, settings: str, numbers: range) -> Begun:
    """How far a conversion is that replaces a file."""
    beside = _new(out)
    for path in (beside, out):
        with contextlib.suppress(DataError):  # what cannot be read is replaced
            found = _found(path, settings, numbers) if path.is_file() else None
            if found is not None and (path == beside or found.done < len(numbers)):
                return found
    if beside.is_file():  # of another conversion
        os.close(claim(beside))
        beside.unlink()
    if not out.is_file():
        return Begun(out)
    os.close(claim(out))
    return Begun(beside)


def _found(path: Path, settings: str, numbers: range) -> Begun | None:
    """How far a dataset is; None where it is not of this conversion."""
    with Dataset.open(path) as dataset:
        if dataset.attributes.get(CONVERSION) != settings:
            return None
        return Begun(path, last_tried(dataset) - numbers.start + 1, dataset.left_out)
