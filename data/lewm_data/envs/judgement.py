"""How it is told in a world whether a goal is reached."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Judgement:
    """Whether it can be told that a goal is reached, and how, or why not.

    Attributes:
        known: Whether it can be told.
        said: The end of the sentence "Success is ...": "judged by states", or "not known, because ...".
    """

    known: bool
    said: str


BY_STATES = Judgement(True, "judged by states")
