"""Ways around the block that keep a distance from it.

A way is straight, or leads through some of the six corners of a loop around the block. All positions are in the
block's own axes.

Letters: P places to go to, W = 6 turning points.
"""

import numpy as np
from jaxtyping import Bool, Float64

from lewm_data.envs.push_t.geometry import CORNERS, distance_in_block

CLEAR = 4.0  # the least distance between the agent's rim and the block on every way
FARTHER = 1.5  # by this much the turning points lie farther out than the nearest such ways
SAMPLES = 24  # points of a straight way whose distance from the block is checked
HULL = np.array([0, 1, 2, 6, 7, 3])  # the corners that stick out, in order
OUTWARDS = np.array([[-1, -1], [1, -1], [1, 1], [1, 1], [-1, 1], [-1, 1]])


class Ways:
    """The ways of an agent around the block.

    Args:
        radius: Radius of the agent.
        scale: Scale of the block.

    Attributes:
        turns: Points where ways can turn.
    """

    turns: Float64[np.ndarray, "W 2"]

    def __init__(self, radius: float, scale: float) -> None:
        self._scale = scale
        self._away = radius + CLEAR
        self.turns = CORNERS[HULL] * scale + OUTWARDS * (self._away + FARTHER)
        self._between = self._straight(self.turns[:, None], self.turns[None])  # (W, W)

    def to(
        self, here: Float64[np.ndarray, "2"], places: Float64[np.ndarray, "P 2"], allowed: Bool[np.ndarray, "W"]
    ) -> tuple[Float64[np.ndarray, " P"], Float64[np.ndarray, "P 2"]]:
        """The length of the way to each place, infinite where there is none, and the end of its first straight piece.

        An agent that is too near to the block backs away first. A place may be nearer to the block than `CLEAR`, and so
        may the last piece then. Where there is no way, the first piece leads straight to the place.

        Args:
            here: Position of the agent.
            places: Positions to which the agent may want to go.
            allowed: Whether each of the turning points lies within the walls.
        """
        closed = np.where(allowed, 0.0, np.inf)
        between = self._between + closed
        for turn in range(len(between)):
            between = np.minimum(between, between[:, turn, None] + between[turn])
        start = self._backed_away(here)
        first = self._straight(start, self.turns) + closed  # (W,)
        last = self._straight(self.turns[:, None], places[None])  # (W, P)
        around = first[:, None] + (between[:, :, None] + last).min(axis=1)  # (W, P) by the first turn
        direct = self._straight(start, places)  # (P,)
        straight_on = direct <= around.min(axis=0)
        towards = np.where(straight_on[:, None], places, self.turns[around.argmin(axis=0)])
        back = float(np.linalg.norm(start - here))
        if back > FARTHER:
            towards = np.broadcast_to(start, places.shape)
        return np.where(straight_on, direct, around.min(axis=0)) + back, towards

    def _straight(
        self, begin: Float64[np.ndarray, "*#N 2"], end: Float64[np.ndarray, "*#N 2"]
    ) -> Float64[np.ndarray, "..."]:
        """Lengths of straight ways, infinite where they lead too near to the block."""
        share = np.linspace(0, 1, SAMPLES)[:, None]
        distance = self._distance(begin[..., None, :] + share * (end - begin)[..., None, :])  # (..., samples)
        enough = np.minimum(self._away, distance[..., -1:]) - 1e-6
        length = np.sqrt(np.square(end - begin).sum(axis=-1))
        return np.where((distance >= enough).all(axis=-1), length, np.inf)

    def _backed_away(self, here: Float64[np.ndarray, "2"]) -> Float64[np.ndarray, "2"]:
        start, small = here, 1e-3
        for _ in range(4):  # more than once in a corner between bar and stem, where both are near
            around = self._distance(start + small * np.array([[0, 0], [1, 0], [0, 1]]))
            if around[0] >= self._away:
                break
            start = start + (around[1:] - around[0]) / small * (self._away + small - around[0])
        return start

    def _distance(self, points: Float64[np.ndarray, "*N 2"]) -> Float64[np.ndarray, "*N"]:
        return distance_in_block(points / self._scale) * self._scale
