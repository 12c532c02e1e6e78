"""Where the weights of an imported run are from."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Origin:
    """Where the weights of a run are from that was not trained here. What their training saw is not known.

    Attributes:
        source: As the user named it: a path, or hf:USER/REPOSITORY.
        weights: Name of the file of weights.
        weights_sha256: Digest of that file.
        layout: Which names its tensors had.
        revision: The commit of the repository, if it is from one.
        env: The name of its world, if the user typed one.
    """

    source: str
    weights: str
    weights_sha256: str
    layout: str
    revision: str | None = None
    env: str | None = None

    @classmethod
    def of(cls, said: Any) -> Origin:  # noqa: ANN401
        """The origin that a config.json states.

        Raises:
            KeyError, TypeError: It states none.
        """
        said = {"env": None, **said}  # runs that were imported earlier do not state it
        revision, env = (None if said[key] is None else str(said[key]) for key in ("revision", "env"))
        source, weights, digest, layout = (str(said[key]) for key in ("source", "weights", "weights_sha256", "layout"))
        return cls(source, weights, digest, layout, revision, env)

    def __str__(self) -> str:
        named = Path(self.source).name == self.weights
        return self.source if named else f"{self.source}, {self.weights}"

    @property
    def command(self) -> str:
        """The command that makes the run again, of the same commit and with the same world."""
        pinned = self.source if self.revision is None else f"{self.source.partition('@')[0]}@{self.revision}"
        return import_command(pinned) + ("" if self.env is None else f" --env {shlex.quote(self.env)}")


def import_command(source: str | Path) -> str:
    """The command that makes a run of a released checkpoint."""
    return f"lewm checkpoint import {shlex.quote(str(source))} --data DATASET.h5"
