"""Where the episodes of a dataset are from, and what the numbers of its action are called: two attributes of a file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

SOURCES = "sources"  # JSON: the recording that each episode is from, by its `episode_idx`
ACTION_NAMES = "action_names"  # JSON: the names of the numbers of an action, in their order
MOST_SOURCES = 1 << 24  # bytes: 200,000 episodes


def sources_text(names: Mapping[int, str]) -> str | None:
    """The attribute that names recordings by `episode_idx`; None where there are none, or too many to be read."""
    text = json.dumps({str(number): name for number, name in names.items()})
    return text if names and len(text) <= MOST_SOURCES else None


def sources_in(attributes: Mapping[str, Any]) -> dict[int, str]:
    """The recordings by `episode_idx`; none where a file does not name them in this form."""
    found = _json(attributes.get(SOURCES))
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found.values()):
        return {}
    return {int(number): name for number, name in found.items() if number.isdecimal() and len(number) < 20}


def action_names_text(names: Sequence[str]) -> str:
    """The attribute that names the numbers of an action."""
    return json.dumps(list(names))


def action_names_in(attributes: Mapping[str, Any], width: int) -> tuple[str, ...]:
    """The names of the numbers of an action; none where a file does not name each of its `width` numbers."""
    found = _json(attributes.get(ACTION_NAMES))
    right = isinstance(found, list) and len(found) == width and all(isinstance(name, str) for name in found)
    return tuple(found) if right and isinstance(found, list) else ()


def _json(text: object) -> object:
    try:
        return json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
