"""Agents that do not plan, on tasks: uniformly random actions, which are the floor, and the world's demonstrator.

The demonstrator is the ceiling: it knows the true state and that of the goal. What it does not solve within the budget
is hardly to be asked of an agent that sees frames. B environments, A action width.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from gymnasium.spaces import Box

from lewm.errors import LewmError
from lewm.evaluation.agents import Meter, OnProgress, Seconds, latent_distance
from lewm.evaluation.episodes import Act, Agent, Film, Played, run_episodes
from lewm.evaluation.tasks import Tasks
from lewm.planning.controller import Controller
from lewm.runtime import clock
from lewm_data.envs.world import World, WorldEnv

EXPERT = "expert"  # the demonstrator's name among the policies of a world
DRAWN_TOGETHER = 100  # random actions of an episode that are drawn at once: all of a large budget would fill a memory
NO_NOISE = 0.0  # the noise with which demonstrators collect data is to make these differ


def random_floor(
    controller: Controller, world: World, tasks: Tasks, frame_size: int, batch: int, to_the_end: bool = False
) -> Played:
    """How uniformly random actions do; see `run_actor`."""
    return run_actor("random", controller, world, tasks, frame_size, batch, to_the_end=to_the_end)[0]


def run_actor(
    name: str,
    controller: Controller,
    world: World,
    tasks: Tasks,
    frame_size: int,
    batch: int,
    on_film: Callable[[Film], None] | None = None,
    on_progress: OnProgress = lambda share, solved: None,
    to_the_end: bool = False,
) -> tuple[Played, Seconds]:
    """Act until each task is solved, its episode has ended, or its budget is spent.

    Random actions depend on the controller's seed and the task alone, and those of the demonstrator on the task. The
    model is used only where it cannot be told whether a task is solved: it then gives the distances.

    Args:
        name: "random" or "expert".
        controller: Has the seed and the model.
        world: The world.
        tasks: Where to begin, and what to reach.
        frame_size: Pixels a side that the environment draws.
        batch: Episodes that run together.
        on_film: Called with what happened in each episode, in the order of the tasks.
        on_progress: Called after each step.
        to_the_end: Whether episodes go on to the end of the budget when they are solved; see `run_episodes`.

    Returns:
        What became of the tasks, and how long an action took.

    Raises:
        LewmError: the demonstrator is asked for, and cannot be led to these goals: see `check_expert`.
    """
    if name == EXPERT:
        check_expert(world, tasks.picture is not None)
    begin = {"random": _random, EXPERT: _demonstrator}[name]
    seconds, taken = 0.0, 0
    meter = Meter(on_progress, -(-len(tasks) // batch))

    def agent(first: int, env: WorldEnv) -> Act:
        act = begin(world, tasks, controller.seed)(first, env)

        def timed(active: np.ndarray, step: int) -> np.ndarray:
            nonlocal seconds, taken
            begun = clock(controller.model.device)
            actions = act(active, step)
            seconds += clock(controller.model.device) - begun
            taken += env.num_envs * actions.shape[1]
            meter.within_batch(step / tasks.budget)
            return actions

        return timed

    played = run_episodes(
        world, tasks, frame_size, batch, agent, latent_distance(controller), on_film, meter.batch_finished, to_the_end
    )
    return played, Seconds(seconds / max(1, taken), 0.0)


def check_expert(world: World, to_picture: bool) -> None:
    """Raises where a world's demonstrator cannot be led to the goals.

    Args:
        world: The world.
        to_picture: Whether the goal is a picture.

    Raises:
        LewmError: the world has no demonstrator, or the goal is a picture, whose state nothing tells.
    """
    if EXPERT not in world.policies:
        raise LewmError(f"{world.name}: has no demonstrator, which the agent {EXPERT} needs", "Use another --agent.")
    if to_picture:
        raise LewmError(
            "the goal is a picture, and a demonstrator is led to states", "Use another --agent, or no --goal."
        )


def _random(world: World, tasks: Tasks, seed: int) -> Agent:
    def agent(first: int, env: WorldEnv) -> Act:
        space = env.single_action_space
        assert isinstance(space, Box)
        low, high = space.low, space.high
        generators = [np.random.default_rng([seed, first + i]) for i in range(env.num_envs)]

        def act(active: np.ndarray, step: int) -> np.ndarray:
            shape = (min(DRAWN_TOGETHER, tasks.budget - step), *low.shape)
            return np.stack([rng.uniform(low, high, shape) for rng in generators]).astype(np.float32)[active]

        return act

    return agent


def _demonstrator(world: World, tasks: Tasks, seed: int) -> Agent:
    def agent(first: int, env: WorldEnv) -> Act:
        expert = world.policies[EXPERT](env, NO_NOISE)
        expert.reset(np.arange(env.num_envs), [np.random.default_rng([seed, first + i]) for i in range(env.num_envs)])

        def act(active: np.ndarray, step: int) -> np.ndarray:
            return expert.act(env.observation)[active, None]

        return act

    return agent
