"""One step of Push-T's physics, a function of state, action and factors alone.

Every step is simulated in a fresh space, which costs a tenth of a millisecond. So a step keeps nothing that a state
does not hold: neither the solver's impulses nor a momentum of the block, which has none in quasi-static pushing. A
trajectory can therefore be continued from any of its states, bit for bit.

Source: the environment of arXiv 2303.04137 with the relative actions of published data: sizes, masses, controller, and
no friction unless it varies.
Differs: the solver begins each step without the impulses of the last one, which moves the block by less than a tenth
of a unit. Its last motion in a step comes before the step's end, not after it. The agent's target stays within the
walls, and a block between agent and wall stops the agent, which may leave the frame in the original.
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from lewm_data.envs.push_t.factors import Factors
from lewm_data.envs.push_t.geometry import AGENT_RADIUS, CENTRE_OF_GRAVITY, CORNERS, HIGH, LOW
from lewm_data.errors import missing

REACH = 100.0  # distance of the agent's target from the agent at an action of 1
TIME_STEP = 0.01
SUBSTEPS = 10  # an action lasts 10 substeps, together 0.1 s
STIFFNESS, DAMPING = 100.0, 20.0  # the controller moves the agent to its target, critically damped
MASS, INERTIA = 1.0, 3000.0  # the published values; a uniform T of this size would have an inertia of 1932
WALL_THICKNESS = 100.0  # outwards: a thing that is pushed into a wall comes back on the inner side


def import_pymunk() -> Any:  # noqa: ANN401
    """Pymunk, which moves this world.

    Raises:
        DataError: It is not installed; the error says what to install.
    """
    try:
        import pymunk
    except ModuleNotFoundError as error:
        raise missing("Push-T needs pymunk", "push-t") from error
    return pymunk


def step(state: Float64[np.ndarray, "7"], action: Float[np.ndarray, "2"], factors: Factors) -> Float64[np.ndarray, "7"]:
    """The state 0.1 s later.

    Args:
        state: A state as the module `geometry` describes it.
        action: The agent's target relative to the agent, in units of 100: each number from -1 to 1.
        factors: All factors of variation by name.
    """
    scene = _Scene(state, factors)
    lowest, highest = LOW + scene.radius, HIGH - scene.radius
    here = scene.agent.position
    target_x = min(max(here.x + REACH * float(action[0]), lowest), highest)
    target_y = min(max(here.y + REACH * float(action[1]), lowest), highest)
    for _ in range(SUBSTEPS):
        scene.advance(target_x, target_y)
    return scene.state()


class _Scene:
    """A fresh space with the walls, the agent and the block."""

    def __init__(self, state: Float64[np.ndarray, "7"], factors: Factors) -> None:
        pymunk = import_pymunk()
        x, y, block_x, block_y, angle, vx, vy = state.tolist()
        self.radius, scale = AGENT_RADIUS * factors["agent.scale"], factors["block.scale"]
        self.space = pymunk.Space()
        self.space.damping = 0.0  # a body loses all of its speed: the block stops when nothing pushes it

        self.agent = pymunk.Body(body_type=pymunk.Body.KINEMATIC)
        self.agent.position, self.agent.velocity = (x, y), (vx, vy)
        disc = pymunk.Circle(self.agent, self.radius)

        self.block = pymunk.Body(MASS, INERTIA * scale**2)
        self.bar, self.stem = (pymunk.Poly(self.block, part) for part in (CORNERS.reshape(2, 4, 2) * scale).tolist())
        self.block.center_of_gravity = 0.0, CENTRE_OF_GRAVITY * scale
        self.block.angle = angle  # set before the position, because the position is not the centre of gravity
        self.block.position = block_x, block_y

        disc.friction = factors["block.friction"]
        self.bar.friction = self.stem.friction = 1.0  # the friction of a contact is the product of both
        low, high = LOW - WALL_THICKNESS, HIGH + WALL_THICKNESS
        square = [(low, low), (high, low), (high, high), (low, high)]
        walls = [pymunk.Segment(self.space.static_body, square[i - 1], square[i], WALL_THICKNESS) for i in range(4)]
        self.space.add(*walls, self.agent, disc, self.block, self.bar, self.stem)

    def advance(self, target_x: float, target_y: float) -> None:
        """One substep of the controller and of the solver."""
        (x, y), (vx, vy) = self.agent.position, self.agent.velocity
        self.agent.velocity = (
            vx + (STIFFNESS * (target_x - x) - DAMPING * vx) * TIME_STEP,
            vy + (STIFFNESS * (target_y - y) - DAMPING * vy) * TIME_STEP,
        )
        self.space.step(TIME_STEP)
        self._hold()

    def state(self) -> Float64[np.ndarray, "7"]:
        """The state after the last substep, whose speeds still move the block: the next space does not know them."""
        self.block.update_position(self.block, TIME_STEP)
        self._hold()
        angle = self.block.angle % math.tau
        return np.array([*self.agent.position, *self.block.position, angle, *self.agent.velocity])

    def _hold(self) -> None:
        """Puts back a block that is squeezed into a wall, and moves the agent out of the block."""
        bar, stem = self.bar.cache_bb(), self.stem.cache_bb()
        left, right = min(bar.left, stem.left), max(bar.right, stem.right)
        top, bottom = min(bar.bottom, stem.bottom), max(bar.top, stem.top)  # y points down here, and up in pymunk
        if min(left, top) >= LOW and max(right, bottom) <= HIGH:
            return
        self.block.position += (
            max(LOW - left, 0.0) - max(right - HIGH, 0.0),
            max(LOW - top, 0.0) - max(bottom - HIGH, 0.0),
        )
        self.bar.cache_bb()
        self.stem.cache_bb()
        found = (part.point_query(self.agent.position) for part in (self.bar, self.stem))
        nearest = min(found, key=lambda one: one.distance)
        if nearest.distance < self.radius:
            outwards = nearest.gradient
            self.agent.position += outwards * (self.radius - nearest.distance)
            self.agent.velocity -= outwards * min(self.agent.velocity.dot(outwards), 0.0)
