"""Which data a run was trained on, as its config.json states it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

LARGEST_FRAME = 2**15  # pixels a side of the data's frames; only a damaged file says more


@dataclass(frozen=True)
class Recorded:
    """How recordings became the frames of a dataset: other recordings become frames of its model in the same way.

    Attributes:
        fps: Steps a second; None where that is not known.
        fit: How pictures that are not square became so; None where that is not known.
        resample: How the actions between two steps became one.
    """

    fps: float | None = None
    fit: str | None = None
    resample: str = "hold"


@dataclass(frozen=True)
class DatasetIdentity:
    """The data that a run was trained on; `lewm.datasets.identity_of` makes it of a dataset."""

    path: str
    fingerprint: str
    frame_size: tuple[int, int]  # Y and X; the model resizes where its own differs
    episodes: int  # how many it has; training held some of them out
    env: str | None  # what the data call their world, if they do
    detail: str | None = None  # how finely the frames are drawn, where the world has a choice
    recorded: Recorded = Recorded()

    @classmethod
    def of(cls, said: Any) -> DatasetIdentity:  # noqa: ANN401
        """The data that a config.json states.

        Raises:
            KeyError, TypeError: It states none.
        """
        sides = tuple(side for side in said["frame_size"] if isinstance(side, int) and 0 < side <= LARGEST_FRAME)
        if len(sides) != 2:
            raise TypeError(f"frame_size is {said['frame_size']!r:.80}")
        env, detail = (None if name is None else str(name) for name in (said["env"], said.get("detail")))
        path, fingerprint, episodes = str(said["path"]), str(said["fingerprint"]), int(said["episodes"])
        return cls(path, fingerprint, sides, episodes, env, detail, Recorded(**said["recorded"]))
