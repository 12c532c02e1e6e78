"""The error for weights that do not fit their configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lewm.errors import LewmError


def refuse_faults(path: Path, **names_by_kind: Sequence[str]) -> None:
    """Raise one error that names every fault of every kind (missing, surplus, misshapen); pass if there is none.

    Raises:
        LewmError: any kind has names.
    """
    faults = [f"{kind} {', '.join(names)}" for kind, names in names_by_kind.items() if names]
    if faults:
        raise LewmError(f"{path}: {'; '.join(faults)}", "Check that config.json beside it belongs to these weights.")
