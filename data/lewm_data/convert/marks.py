"""Marks of sources, by which a dataset knows of which it was made."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import stat
from pathlib import Path
from typing import Any

from lewm_data.errors import DataError
from lewm_data.store.dataset import Dataset
from lewm_data.store.left_out import CONVERSION
from lewm_data.store.merge import unconverted

MOST_FILES = 100_000  # of a source, which are looked at to notice a change


def source_id(source: Path) -> str:
    """A mark of a source's place, by which another source of the same name is told from it."""
    return hashlib.sha256(str(source.expanduser().resolve()).encode()).hexdigest()[:16]


def source_state(source: Path, out: Path) -> str:
    """A mark of the names, sizes and times of a source's files but `out`, by which a change of them is noticed."""
    found = [source] if source.is_file() else sorted(itertools.islice(source.rglob("*"), MOST_FILES))
    ours = out.absolute()
    state = [
        [str(one.relative_to(source)), *_size_and_time(one)]
        for one in found
        if not one.name.startswith(".") and one.absolute() != ours
    ]
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()[:16]


def _size_and_time(path: Path) -> list[int]:
    with contextlib.suppress(OSError):
        about = path.stat()
        if stat.S_ISREG(about.st_mode):
            return [about.st_size, about.st_mtime_ns]
    return []


def is_of(dataset: Path, source: Path) -> bool:
    """Whether a file is a dataset that was converted from a source, as it is now or as it was."""
    return _settings_of(dataset).get("source_id") == source_id(source)


def is_all_of(dataset: Path, source: Path) -> bool:
    """Whether a file is a dataset of the whole of a source as it is now, whatever the options."""
    settings = _settings_of(dataset)
    if settings.get("source_state") != source_state(source, dataset) or settings.get("part") != [1, 1]:
        return False
    with Dataset.open(dataset) as opened:
        return is_of(dataset, source) and not unconverted(opened)


def _settings_of(dataset: Path) -> dict[str, Any]:
    try:
        with Dataset.open(dataset) as opened:
            settings = json.loads(opened.attributes.get(CONVERSION, "{}"))
    except (DataError, ValueError):
        return {}
    return settings if isinstance(settings, dict) else {}
