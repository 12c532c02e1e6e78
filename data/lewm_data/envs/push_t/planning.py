"""Planning of pushes that bring the block to a pose: the best plan of one or two pushes.

Letters: C contacts, L lengths of a push, F first pushes that are combined with every second push.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float64

from lewm_data.envs.push_t.geometry import CORNERS, HIGH, LOW, turned
from lewm_data.envs.push_t.paths import CLEAR, Ways
from lewm_data.envs.push_t.pushing import contacts, followed_by, moved, seen_from, size

LENGTHS = np.array([2.0, 4, 7, 11, 16, 22, 30, 40, 52, 66, 82, 100, 125, 155, 190])
LOOKED_AT = 100  # F, of the 750 or so first pushes
PLACED = 7.0  # a block this near to its pose, turning included, is there
INTENDED = 5.0  # a plan that leaves the block this near has arrived

# The costs of a plan. A unit of the agent's way around the block costs 1.
PUSHING = 3.0  # for each unit of pushing, which is slower
CHANGING = 60.0  # for each push, because the agent changes sides
MISSING = 300.0, 12.0  # for a plan that does not arrive, and for each unit that is left
CORNERED = 20.0  # for each unit of room that the agent lacks between a wall and the block, where it cannot turn it
NO_WAY = 5000.0

_FINE = np.arange(0.0, LENGTHS[-1] + 1, 0.5)  # lengths among which the rest of a push is searched


@dataclass(frozen=True)
class Push:
    """A push at one contact.

    Attributes:
        contact: Number of the contact.
        end: The block's pose after the push.
    """

    contact: int
    end: Float64[np.ndarray, "3"]


class Planner:
    """Plans pushes of one agent on one block.

    Args:
        radius: Radius of the agent.
        scale: Scale of the block.
    """

    def __init__(self, radius: float, scale: float) -> None:
        self._radius, self._scale = radius, scale
        self.ways = Ways(radius, scale)
        self.contacts = contacts(radius, scale)
        self.approach = self.contacts.place + CLEAR * self.contacts.normal  # (C, 2) the ends of ways to contacts
        self._motions = moved(self.contacts.twist[:, None], LENGTHS)  # (C, L, 3)
        anywhere = np.ones(len(self.ways.turns), np.bool_)
        self._between = np.stack([self.ways.to(place, self.approach, anywhere)[0] for place in self.contacts.place])

    def pushes(
        self, agent: Float64[np.ndarray, "2"], block: Float64[np.ndarray, "3"], goal: Float64[np.ndarray, "3"]
    ) -> list[Push]:
        """One push or two, after which the block is at its goal or nearer to it.

        Args:
            agent: Position of the agent, in the block's axes.
            block: The block's pose.
            goal: The pose that the block should have.
        """
        way, _ = self.ways.to(agent, self.approach, self.within_walls(self.ways.turns, block))
        way = np.where(self.within_walls(self.approach, block), way, np.inf)
        begun = np.minimum(way, NO_WAY)[:, None] + PUSHING * LENGTHS + CHANGING + self._cornered(block)  # (C, L)
        left = seen_from(self._motions, seen_from(block, goal))  # (C, L, 3)
        one = begun + self._missing(left)

        contact, length = np.unravel_index(np.argsort(one, axis=None)[:LOOKED_AT], one.shape)  # (F,)
        twice = seen_from(self._motions, left[contact, length][:, None, None])  # (F, C, L, 3)
        further = self._between[contact][:, :, None] + PUSHING * LENGTHS + CHANGING
        two = begun[contact, length][:, None, None] + further + self._missing(twice)  # (F, C, L)

        if one.min() <= two.min():
            return [self._push(block, int(contact[0]), int(length[0]))]
        first, second, its_length = (int(index) for index in np.unravel_index(two.argmin(), two.shape))
        begin = self._push(block, int(contact[first]), int(length[first]))
        return [begin, self._push(begin.end, second, its_length)]

    def remaining(self, push: Push, block: Float64[np.ndarray, "3"]) -> tuple[float, float]:
        """The remaining length of a push, and the block's distance from the planned end after it."""
        left = seen_from(moved(self.contacts.twist[push.contact], _FINE), seen_from(block, push.end))
        distance = size(left, self._scale)
        nearest = int(distance.argmin())
        return float(_FINE[nearest]), float(distance[nearest])

    def within_walls(
        self, places: Float64[np.ndarray, "P 2"], block: Float64[np.ndarray, "3"]
    ) -> Bool[np.ndarray, " P"]:
        """Whether the agent has room at places in the axes of the block."""
        world = turned(places, float(block[2])) + block[:2]
        inside: np.ndarray = ((world > LOW + self._radius) & (world < HIGH - self._radius)).all(axis=1)
        return inside

    def _push(self, block: Float64[np.ndarray, "3"], contact: int, length: int) -> Push:
        return Push(contact, followed_by(block, self._motions[contact, length]))

    def _missing(self, left: Float64[np.ndarray, "*N 3"]) -> Float64[np.ndarray, "*N"]:
        distance = size(left, self._scale)
        at_all, each = MISSING
        return np.where(distance < INTENDED, 0.0, at_all + each * distance)

    def _cornered(self, block: Float64[np.ndarray, "3"]) -> Float64[np.ndarray, "C L"]:
        """The cost of each push for ending near a wall, where the agent cannot get behind the block any more."""
        end = self._motions[:, :, None]  # (C, L, 1, 3)
        corners = turned(CORNERS * self._scale, end[..., 2]) + end[..., :2]  # (C, L, 8, 2)
        world = turned(corners, float(block[2])) + block[:2]
        room = np.minimum(world - LOW, HIGH - world).min(axis=(-1, -2))
        lacking: np.ndarray = np.maximum(2 * (self._radius + CLEAR) - room, 0.0)
        return CORNERED * lacking


@lru_cache(maxsize=64)
def planner(radius: float, scale: float) -> Planner:
    """The planner for an agent of this radius and a block of this scale; making one takes a twentieth of a second."""
    return Planner(radius, scale)
