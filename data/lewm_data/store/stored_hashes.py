"""What a file says about its own hashes: of which frames, and of which columns, they are.

Attributes are read through a second view of the file, in which damaged text raises an error.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lewm_data.store.opening import OpenFile, reading
from lewm_data.store.schema import COVERED, HASHED_FRAME, HASHES, PIXELS

logger = logging.getLogger(__name__)


def are_of_frames(path: Path, opened: OpenFile) -> bool:
    """Whether the hashes belong to the file's frames; False, with a warning, if the hashed frames had another size."""
    hashed, now = _attribute(path, opened, HASHED_FRAME), opened.file[PIXELS].shape[1:]
    if hashed is None or np.array_equal(hashed, now):
        return True
    logger.warning("%s: its hashes are of frames of another size, and are not used", path)
    return False


def covered_columns(path: Path, opened: OpenFile, columns: Sequence[str]) -> tuple[str, ...]:
    """The columns that the hashes cover; all of `columns` but the frames where a copy of the file lost their names."""
    found = _attribute(path, opened, COVERED)
    names = () if found is None else tuple(map(str, np.atleast_1d(found)))
    return names or tuple(name for name in columns if name != PIXELS)


def _attribute(path: Path, opened: OpenFile, name: str) -> Any:  # noqa: ANN401  # an attribute may be anything
    """An attribute of the hashes; None where there is none."""
    with reading(path), opened.for_attributes() as file:
        return file[HASHES].attrs.get(name)
