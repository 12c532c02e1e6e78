"""Errors about a user's request: what was expected and got, then what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

INSTALL = 'pip install -e ".[{}]" -c constraints.txt'  # to be run in the checkout of lewm, which is on no package index


class LewmError(ValueError):
    """A configuration, checkpoint or run that cannot be used.

    Args:
        problem: One line: what was expected and what was found, naming the file, key or tensor.
        remedy: One line: what to do next.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}\n{remedy}")
        self.problem, self.remedy = problem, remedy


def missing(what: str, extra: str) -> LewmError:
    """The error for a package that is not installed: "pictures need matplotlib", and the extra that brings it."""
    return LewmError(f"{what}, which is not installed", f"Run in the checkout of lewm: {INSTALL.format(extra)}")


def unknown(kind: str, name: str, known: Iterable[str]) -> LewmError:
    """The error for a name that is not among `known`, with the nearest right one.

    Where names are dotted (training.seed), only their last parts are compared.
    """
    choices = sorted(known)
    leaves = {choice.rpartition(".")[2]: choice for choice in choices}
    nearest = difflib.get_close_matches(name.rpartition(".")[2], leaves, n=1, cutoff=0.5)
    remedy = f'Did you mean "{leaves[nearest[0]]}"? ' if nearest else ""
    return LewmError(f'unknown {kind} "{name}"', f"{remedy}Known: {', '.join(choices)}.")
