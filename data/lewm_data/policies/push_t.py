"""The demonstrator of Push-T: it pushes the block to the goal pose from the sides that are quickest.

Letters: N environments, K of them that begin an episode.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float32, Float64, Int

from lewm_data.envs.push_t.factors import Factors
from lewm_data.envs.push_t.geometry import AGENT, AGENT_RADIUS, POSE, VELOCITY, turned
from lewm_data.envs.push_t.paths import CLEAR
from lewm_data.envs.push_t.planning import PLACED, Push, planner
from lewm_data.envs.push_t.pushing import action_to, moved, seen_from, size
from lewm_data.envs.push_t.task import draw_state, solved
from lewm_data.envs.vector_env import SimulatorVectorEnv
from lewm_data.errors import DataError
from lewm_data.policies.policy import EpisodeNoise

WAY = 14.0  # units a step on the way around the block
PUSH = 5.0  # units a step while pushing
DONE = 1.0  # a push is over when less than this remains
ASTRAY = 14.0  # a push that will end this far from its planned end is given up
DISPLACED = 1.7  # a placed block is pushed again when it is farther from its pose than this many times `PLACED`
BESIDE = 10.0  # an agent at most this far beside its contact pushes, and corrects its place while it pushes
AT_CONTACT = -4.0, CLEAR + 9.0  # and so does an agent within this range along the normal, inwards and outwards
GOALS = 8  # further goals, more than are reached in an episode of 200 steps


class PushTExpert:
    """Plans two pushes, does them, and plans again until the block is at the goal; then the agent goes to its goal too.

    From there it goes on to further random goals, so that it never just stands. Between two pushes it goes around the
    block without touching it. Gaussian noise is added to the actions, and the sum is clipped to [-1, 1].

    Without noise it solved 399 of 400 episodes within 200 steps, half of them within 96. With noise 0.1 and 5 % of the
    actions repeated it solved all 400, half of them within 113; with noise 0.2, 84 %. It moves the block in about 45 %
    of its steps.

    Args:
        env: The environments to act in.
        noise: Standard deviation of the noise, before clipping.

    Raises:
        DataError: A negative noise.
    """

    def __init__(self, env: SimulatorVectorEnv, noise: float) -> None:
        if not 0 <= noise < np.inf:
            raise DataError(f"noise is {noise}, expected at least 0", "It is a standard deviation; 0 is none.")
        self._env = env
        self._sigma = noise
        self._noise = EpisodeNoise(env.num_envs, env.max_episode_steps, 2)
        self._hands = [_Hand(factors) for factors in env.factors]
        self._goals = np.zeros((env.num_envs, GOALS, 7))
        self._reached = np.zeros(env.num_envs, np.int64)
        self._rows = np.arange(env.num_envs)

    def reset(self, slots: Int[np.ndarray, "K"], rngs: Sequence[np.random.Generator]) -> None:
        """A new episode begins in each environment of `slots`, with its generator."""
        for slot, rng in zip(slots.tolist(), rngs, strict=True):
            factors = self._env.factors[slot]
            self._noise.begin(slot, rng.normal(0.0, self._sigma, (self._env.max_episode_steps, 2)))
            self._goals[slot] = [draw_state(rng, factors) for _ in range(GOALS)]
            self._reached[slot] = 0
            self._hands[slot] = _Hand(factors)

    def act(self, observation: Mapping[str, np.ndarray]) -> Float32[np.ndarray, "N 2"]:
        """The next action of every environment."""
        state = observation["state"]
        further = self._goals[self._rows, (self._reached - 1) % GOALS]
        goal = np.where(self._reached[:, None] > 0, further, observation["goal"])
        self._reached += solved(state, goal)
        wanted = np.stack([hand.action(*one) for hand, *one in zip(self._hands, state, goal, strict=True)])
        noise, _ = self._noise.next()
        return np.clip(wanted + noise, -1.0, 1.0).astype(np.float32)


class _Hand:
    """The control of one agent: its plan, and its progress in the plan. Positions are in the block's axes."""

    def __init__(self, factors: Factors) -> None:
        self._scale = factors["block.scale"]
        self._planner = planner(AGENT_RADIUS * factors["agent.scale"], self._scale)
        self._pushes: list[Push] = []
        self._placed = False

    def action(self, state: Float64[np.ndarray, "7"], goal: Float64[np.ndarray, "7"]) -> Float64[np.ndarray, "2"]:
        """The action, not clipped, that brings `state` nearer to `goal`."""
        block, aim = state[POSE], goal[POSE]
        agent = turned(state[AGENT] - block[:2], -float(block[2]))
        far = size(seen_from(block, aim)[None], self._scale)[0]
        self._placed = bool(far < PLACED * (DISPLACED if self._placed else 1.0))
        if self._placed:
            self._pushes = []
            step = self._go(agent, turned(goal[AGENT] - block[:2], -float(block[2])), block)
        else:
            step = self._push(agent, block, aim)
        return action_to(turned(step, float(block[2])), state[VELOCITY])

    def _push(
        self, agent: Float64[np.ndarray, "2"], block: Float64[np.ndarray, "3"], aim: Float64[np.ndarray, "3"]
    ) -> Float64[np.ndarray, "2"]:
        """A step of the present push, or of the way to its beginning."""
        push, rest = self._present(agent, block, aim)
        contacts = self._planner.contacts
        place, normal = contacts.place[push.contact], contacts.normal[push.contact]
        outwards = float((agent - place) @ normal)
        beside = float(np.linalg.norm(agent - place - outwards * normal))
        if beside > BESIDE or not AT_CONTACT[0] < outwards < AT_CONTACT[1]:
            return self._go(agent, self._planner.approach[push.contact], block)
        ahead = moved(contacts.twist[push.contact], np.array(min(PUSH, rest)))
        return turned(place, float(ahead[2])) + ahead[:2] - agent

    def _present(
        self, agent: Float64[np.ndarray, "2"], block: Float64[np.ndarray, "3"], aim: Float64[np.ndarray, "3"]
    ) -> tuple[Push, float]:
        """The present push and its remaining length; plans again where the last plan is done or went wrong."""
        if self._pushes:
            rest, off = self._planner.remaining(self._pushes[0], block)
            if rest >= DONE and off <= ASTRAY:
                return self._pushes[0], rest
            self._pushes = self._pushes[1:] if off <= ASTRAY else []
        if not self._pushes:
            self._pushes = self._planner.pushes(agent, block, aim)
        return self._pushes[0], self._planner.remaining(self._pushes[0], block)[0]

    def _go(
        self, agent: Float64[np.ndarray, "2"], place: Float64[np.ndarray, "2"], block: Float64[np.ndarray, "3"]
    ) -> Float64[np.ndarray, "2"]:
        """A step towards `place`, around the block."""
        ways = self._planner.ways
        _, towards = ways.to(agent, place[None], self._planner.within_walls(ways.turns, block))
        step = towards[0] - agent
        return step * min(1.0, WAY / max(float(np.linalg.norm(step)), 1e-9))
