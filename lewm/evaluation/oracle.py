"""An oracle: the planner in the world's own simulator, from the true state, by the true distance to the goal.

What it fails at, the search fails at; what a model fails at beyond that, its latents or its predictions do.

B environments, S candidates, H horizon in blocks, L context length, P = L - 1 past blocks, A action-block width, R rows
simulated together, K blocks, W state width, a action width.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor

from lewm.config import line_of
from lewm.errors import LewmError
from lewm.evaluation.agents import OnProgress, Seconds, latent_distance
from lewm.evaluation.episodes import Act, Played, run_episodes
from lewm.evaluation.tasks import UNSEEN, Placed, Tasks
from lewm.planning.controller import Controller
from lewm.planning.costs import MakeCost
from lewm.planning.dynamics import Dynamics
from lewm.planning.plan import Context, Cost
from lewm.planning.planners import PLANNERS
from lewm.planning.replanner import Replanner
from lewm.runtime import clock
from lewm_data.envs.world import World, WorldEnv

CPU = torch.device("cpu")
ROWS = 2400  # candidates that one call simulates, where NumPy moves many worlds at a time

# Actions in environment units of normalised blocks (B, K, A).
Actions = Callable[[Tensor], Float32[np.ndarray, "B steps a"]]


class SimulatorDynamics:
    """Copies of a world's simulator as dynamics: their latents are the world's states.

    Args:
        world: The world; its states can be set. The copies have its default factors.
        actions: Turns normalised blocks into actions of the world.
        action_block: A.
    """

    def __init__(self, world: World, actions: Actions, action_block: int) -> None:
        self.device, self.action_block = CPU, action_block
        self._actions = actions
        self._env = world.make(1 if world.workers else ROWS, UNSEEN, False)

    def rows(self, horizon: int) -> int:
        """The same for every horizon: a row takes its time, but hardly any memory."""
        return ROWS

    def __call__(
        self,
        latents: Float64[Tensor, "B L W"],
        candidates: Float[Tensor, "B S H A"],
        history: Float[Tensor, "B P A"] | None = None,
    ) -> Float64[Tensor, "B S H W"]:
        """States after each block of the candidates; earlier states and blocks do not matter."""
        B, S, H, _ = candidates.shape
        starts = latents[:, -1].repeat_interleave(S, dim=0).numpy()  # (R, W)
        steps = self._actions(candidates.flatten(0, 1))  # (R, steps, a)
        many = self._env.num_envs
        reached = [self._simulate(starts[i : i + many], steps[i : i + many], H) for i in range(0, len(starts), many)]
        return torch.from_numpy(np.concatenate(reached)).unflatten(0, (B, S))

    def close(self) -> None:
        """Releases the simulators."""
        self._env.close()

    def _simulate(
        self, starts: Float64[np.ndarray, "R W"], actions: Float32[np.ndarray, "R steps a"], blocks: int
    ) -> Float64[np.ndarray, "R blocks W"]:
        """States at the end of each block, for at most as many rows as there are environments."""
        env, rows = self._env, len(starts)
        every = np.arange(env.num_envs).clip(max=rows - 1)  # environments that are too many repeat the last row
        env.set_state(starts[every])
        reached = []
        for step in range(actions.shape[1]):
            env.step(actions[every, step])
            reached.append(env.state[:rows])
        skip = actions.shape[1] // blocks
        return np.stack(reached[skip - 1 :: skip], axis=1)


def true_distance(world: World) -> MakeCost:
    """The world's own distance between the last state and the goal state."""

    def make(dynamics: Dynamics, context: Context, goal: Float64[Tensor, "B W"]) -> Cost:
        def cost(candidates: Float[Tensor, "B S H A"]) -> Float[Tensor, "B S"]:
            reached = dynamics(context.latents, candidates, context.actions)[:, :, -1]  # (B, S, W)
            pairs = (states.flatten(0, 1).numpy() for states in (reached, goal[:, None].expand_as(reached)))
            return torch.from_numpy(world.path_distance(*pairs)).float().unflatten(0, reached.shape[:2])

        return cost

    return make


@dataclass(frozen=True, kw_only=True)
class Oracle(Controller):
    """Plans as a controller does, but in copies of the simulator, from states, by the world's own distance.

    Attributes:
        model: The model whose settings of actions plans have: their statistics, bounds, and steps of a block.
        world: The world, whose states can be set.

    Raises:
        LewmError: the states of the world cannot be set, or it cannot tell what is solved; or the planner asks for
            gradients.
    """

    world: World

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.world.restorable and self.world.judge().known):
            raise LewmError(
                f"{self.world.name}: an oracle needs a world whose states can be set, and which knows what is solved",
                "Use a run of a world of lewm's own.",
            )
        if line_of(PLANNERS, "PLANNERS", self.planning.planner).differentiates:
            raise LewmError(
                f'the planner "{self.planning.planner.kind}" asks for gradients, and a simulator has none',
                "Use --planner cem.",
            )

    @cached_property
    def dynamics(self) -> SimulatorDynamics:
        """The simulators; made at their first use."""
        return SimulatorDynamics(self.world, self.actions, self.model.config.action_block)

    @property
    def make_cost(self) -> MakeCost:
        """The true distance."""
        return true_distance(self.world)


def run_oracle(
    oracle: Oracle, tasks: Tasks, batch: int, on_progress: OnProgress = lambda share, solved: None
) -> tuple[Played, Seconds]:
    """Plan, execute and replan as `run_planner` does, with an oracle.

    Args:
        batch: Episodes that run together.
        on_progress: Called after each batch.

    Raises:
        LewmError: factors of the world vary between the tasks: the oracle's simulators have the default ones.
    """
    starts = [task.start for task in tasks.each if isinstance(task.start, Placed)]
    if any(start.factors for start in starts):
        raise LewmError(
            "the factors of these tasks vary, and an oracle's simulators have the default ones",
            "Give it tasks of a dataset that was collected without --vary.",
        )
    seconds, plans, done, solved = 0.0, 0, 0, 0

    def agent(first: int, env: WorldEnv) -> Act:
        goals = torch.from_numpy(np.stack([start.goal for start in starts[first : first + env.num_envs]]))
        replanner = Replanner(oracle, goals, first + np.arange(env.num_envs))

        def act(active: np.ndarray, step: int) -> np.ndarray:
            nonlocal seconds, plans
            states = torch.from_numpy(env.state[active])
            begun = clock(CPU)
            actions = replanner.act(states if replanner.looks_next else None, active)
            seconds += clock(CPU) - begun
            plans += len(active) if replanner.decision is not None else 0
            return actions

        return act

    def finished(newly_solved: int) -> None:
        nonlocal done, solved
        done, solved = done + batch, solved + newly_solved
        on_progress(min(1.0, done / len(tasks)), solved)

    with closing(oracle.dynamics):
        played = run_episodes(oracle.world, tasks, UNSEEN, batch, agent, latent_distance(oracle), on_batch=finished)
    return played, Seconds(seconds / max(1, plans), 0.0)
