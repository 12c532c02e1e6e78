"""Errors for weights that do not fit their configuration, or are no numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from lewm.errors import LewmError

BELONGS = "Check that config.json beside it belongs to these weights."


def refuse_faults(path: Path, remedy: str = BELONGS, **names_by_kind: Sequence[str]) -> None:
    """Raise one error that names every fault of every kind (missing, surplus, misshapen); pass if there is none.

    Args:
        path: Where the tensors are from.
        remedy: The second line of the error.
        names_by_kind: The names of the tensors that have a fault, by the kind of fault.

    Raises:
        LewmError: any kind has names.
    """
    faults = [f"{kind} {', '.join(names)}" for kind, names in names_by_kind.items() if names]
    if faults:
        raise LewmError(f"{path}: {'; '.join(faults)}", remedy)


def refuse_not_finite(path: Path, tensors: Mapping[str, Tensor], remedy: str) -> None:
    """Raise where weights or statistics are infinite or no numbers.

    Raises:
        LewmError: naming the file and the tensors.
    """
    names = not_finite(tensors)
    if names:
        raise LewmError(f"{path}: not finite: {shortened(names)}", remedy)


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Names of the tensors that hold a value that is infinite or no number.

    What the model knows of the actions (`action_mean` and the like) is infinite or no number where it is unknown.
    """
    checked = {name: tensor for name, tensor in tensors.items() if not _of_actions(name)}
    return [name for name, tensor in checked.items() if not _all_finite(tensor)]


def shortened(names: Sequence[str], shown: int = 3) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def _all_finite(tensor: Tensor) -> bool:
    """Looks at the sum first, which is many times faster and finite only if all values are; it may also overflow."""
    return bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())


def _of_actions(name: str) -> bool:
    leaf = name.removeprefix("model.")
    return leaf.startswith("action_") and "." not in leaf
