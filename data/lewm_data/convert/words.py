"""What conversions say in the same words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

SHOWN = 8  # names in a sentence


def actions_said(name: str, width: int, unit: str = "in the units of the source") -> str:
    """Which numbers are the action."""
    return f"actions: {name} ({width} {'number' if width == 1 else 'numbers'}), {unit}"


def columns_said(kept: Iterable[str], left_out: Iterable[str]) -> list[str]:
    """Which columns are kept, and which are not; a sentence each."""
    said = []
    for what, names in (("columns kept", list(kept)), ("left out", list(left_out))):
        if names:
            said.append(f"{what}: {some(names)}")
    return said


def some(names: Sequence[str]) -> str:
    """The first names of a list, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
