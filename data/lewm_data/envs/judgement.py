"""How it is told in a world whether a goal is reached."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

OnShare = Callable[[float], None]  # is told which share of a trial is done


@dataclass(frozen=True)
class Judgement:
    """Whether it can be told that a goal is reached, and how, or why not.

    Attributes:
        known: Whether it can be told.
        said: The end of the sentence "Success is ...": "judged by states", or "not known, because ...".
    """

    known: bool
    said: str


@runtime_checkable
class Judge(Protocol):
    """Says how it is told in a world whether a goal is reached."""

    def __call__(self, on_share: OnShare = ...) -> Judgement:
        """The judgement; where it has to be tried out, `on_share` is told how far that is."""
        ...


BY_STATES = Judgement(True, "judged by states")


def unheard(share: float) -> None:
    """Where nobody wants to know how far a trial is."""


def by_states(on_share: OnShare = unheard) -> Judgement:
    """Judges by states, without a trial."""
    return BY_STATES
