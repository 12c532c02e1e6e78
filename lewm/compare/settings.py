"""What a method has other than the reference, as a reader is told it: the choices, not all that follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lewm.compare.cells import NOT_TRAINED, Cell, flat

KIND = "kind"  # the key of a section that decides which other keys it has
HIDDEN = (*NOT_TRAINED, "training.seed")


def settings(cell: Cell, reference: Cell) -> dict[str, Any]:
    """Keys and values of a method that differ, those of training and of planning by "train." and "plan.".

    Of another recipe only the name is told.

    Args:
        cell: A cell of the method.
        reference: A cell of the reference, of the same world.
    """
    own, other = cell.run.config, reference.run.config
    if own.recipe != other.recipe:
        train = {"recipe": own.recipe}
    else:
        train = _differences(*(one.model_dump(mode="json", by_alias=True) for one in (own, other)))
    plan = _differences(*(one.planning.model_dump(mode="json", by_alias=True) for one in (cell, reference)))
    told = {f"train.{key}": value for key, value in train.items() if not key.startswith(HIDDEN)}
    return told | {f"plan.{key}": value for key, value in plan.items()}


def _differences(own: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that differ, without those that only one side has because a section of it is of another kind."""
    left, right = dict(flat(own)), dict(flat(other))
    keys = [key for key in {**right, **left} if left.get(key) != right.get(key)]
    kinds = {key.removesuffix(KIND) for key in keys if key.endswith(f".{KIND}") and key in left and key in right}
    return {key: left.get(key) for key in keys if (key in left and key in right) or not key.startswith(tuple(kinds))}
