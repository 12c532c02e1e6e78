"""Errors about a user's data: what was expected and got, then what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

INSTALL = 'pip install -e ".[{}]" -c constraints.txt'  # in the checkout of lewm, which is on no package index


class DataError(ValueError):
    """A dataset, video or environment request that cannot be served.

    Args:
        problem: One line: what was expected and what was found, naming the file, column or value.
        remedy: One line: what to do next.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}\n{remedy}")
        self.problem, self.remedy = problem, remedy


def missing(what: str, extra: str) -> DataError:
    """The error for a package that is not installed: "pictures need matplotlib", and the extra that brings it."""
    return DataError(f"{what}, which is not installed", f"Run in the checkout of lewm: {INSTALL.format(extra)}")


def unknown(kind: str, name: str, known: Iterable[str]) -> DataError:
    """The error for a name that is not among `known`, with the nearest right one."""
    choices = sorted(known)
    nearest = difflib.get_close_matches(name, choices, n=1, cutoff=0.4)
    remedy = f'Did you mean "{nearest[0]}"? ' if nearest else ""
    return DataError(f'unknown {kind} "{name}"', f"{remedy}Known: {', '.join(choices)}.")
