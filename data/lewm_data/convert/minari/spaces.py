"""What Minari's metadata.json says about the spaces of observations and actions.

Letters: A options of an action.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lewm_data.convert.roles import MOST_CHOICES
from lewm_data.errors import DataError
from lewm_data.foreign import check_file, decoding

METADATA = "metadata.json"
MOST_METADATA = 1 << 27  # bytes: it has the limits of every pixel, 4 MB for pictures of 224 x 224


def choices(path: Path) -> tuple[int, int] | None:
    """The first option and A, the number of options of a discrete action; None where the action is none.

    Raises:
        DataError: There is no such file, it describes no dataset, or there are too many options.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file, and the actions are choices", "Copy the whole folder of the dataset.")
    space = _space(path, "action_space")
    if space["type"] != "Discrete":
        return None
    first, count = space.get("start", 0), space.get("n")
    if not (isinstance(first, int) and isinstance(count, int) and 0 < count <= MOST_CHOICES):
        raise DataError(f"{path}: actions of {count} options, at most {MOST_CHOICES} are read", "Leave it out.")
    return first, count


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the observations that are boxes, by their names: "" for a single one, "cameras/wrist" for nested.

    Raises:
        DataError: There is no such file, or it describes no dataset.
    """
    with decoding(path, "is no description of a dataset by Minari", "Copy the dataset again."):
        return dict(_boxes("", _space(path, "observation_space")))


def _space(path: Path, name: str) -> Mapping[str, Any]:
    check_file(path, MOST_METADATA)
    with decoding(path, "is no description of a dataset by Minari", "Copy the dataset again."):
        space = json.loads(json.loads(path.read_bytes())[name])
        return {"type": space["type"], **space}


def _boxes(name: str, space: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    parts = space.get("subspaces")
    if isinstance(parts, list):  # a tuple's
        parts = {str(number): one for number, one in enumerate(parts)}
    if isinstance(parts, dict):
        for part, one in parts.items():
            yield from _boxes(f"{name}/{part}" if name else part, one)
    elif space["type"] == "Box":
        yield name, tuple(map(int, space["shape"]))
