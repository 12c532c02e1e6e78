"""An agent at work on tasks, many at a time.

N tasks, M = N or 0, B environments, K actions of width A, T frames of an episode, Y and X their sides, V and U those
of a decoded one, S state width.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8

from lewm.evaluation.tasks import Tasks
from lewm_data.envs.world import World, WorldEnv

# Chooses the next few actions for the environments `active`, at a step of the budget.
Act = Callable[[Int64[np.ndarray, " active"], int], Float32[np.ndarray, "active K A"]]
# Makes an `Act`, from the number of the first task and the environments that have begun it and the tasks after it.
Agent = Callable[[int, WorldEnv], Act]
# Tells from frames and goals how far apart they are.
Distance = Callable[[UInt8[np.ndarray, "B Y X 3"], UInt8[np.ndarray, "B Y X 3"]], Float64[np.ndarray, " B"]]


@dataclass(frozen=True)
class Played:
    """What became of tasks.

    Attributes:
        solved: Whether each was solved at any step of its budget; None where that cannot be told.
        distance: Distance of each from its goal at the start and at the end; empty where `solved` is known.
        steps: Steps taken in each until it was solved, its episode had ended, or its budget was spent.
        states: The states after each step of the budget; None unless the episodes went on to the end of the budget.
    """

    solved: Bool[np.ndarray, " N"] | None
    distance: Float64[np.ndarray, "M 2"]
    steps: Int64[np.ndarray, " N"]
    states: Float64[np.ndarray, "N T S"] | None = None


@dataclass(frozen=True)
class Film:
    """What happened in one episode, for a video: the frames after 0, 1, 2, ... steps until it was over.

    `imagined` is what was expected, decoded: first the present, then at every step what the plan in force predicts for
    the end of the block that the step belongs to. None when it was not asked for. `solved` is None where it cannot be
    told.
    """

    task: int
    frames: UInt8[np.ndarray, "T Y X 3"]
    goal: UInt8[np.ndarray, "Y X 3"]
    solved: bool | None
    imagined: UInt8[np.ndarray, "T V U 3"] | None = None


def run_episodes(
    world: World,
    tasks: Tasks,
    frame_size: int,
    batch: int,
    agent: Agent,
    distance: Distance,
    on_film: Callable[[Film], None] | None = None,
    on_batch: Callable[[int], None] = lambda solved: None,
    to_the_end: bool = False,
) -> Played:
    """Lets the agent act until each task is solved, its episode has ended, or its budget is spent.

    Args:
        frame_size: Pixels a side that the environment draws.
        batch: Tasks that run together.
        distance: Measures the distance where it cannot be told whether a task is solved.
        on_film: Called with what happened in each episode, in the order of the tasks.
        on_batch: Called after each batch with the number of tasks that were solved in it.
        to_the_end: Let the agent act on for the whole budget where a task is solved, and keep the states, for stricter
            rules of success. What is said of each task otherwise stays the same. Only where states can be set.
    """
    assert world.restorable or not to_the_end
    solved, apart, steps, states = [], [], [], []
    for first in range(0, len(tasks), batch):
        with closing(world.make(min(batch, len(tasks) - first), frame_size, False)) as env:
            tasks.begin(env, first)
            before = None if tasks.solvable else distance(frames_of(env), tasks.goals(env))
            act, stays = agent(first, env), not world.restorable
            went: list[Float64[np.ndarray, "B S"]] | None = [] if to_the_end else None
            here, taken, films = _run_together(env, act, tasks, stays, on_film is not None, went)
            if went is not None:
                states.append(np.stack(went, axis=1))  # (B, T, S)
            if before is not None:
                apart.append(np.stack([before, distance(frames_of(env), tasks.goals(env))], axis=1))
            if on_film is not None:
                for i, (frames, goal) in enumerate(zip(films, tasks.goals(env), strict=True)):
                    on_film(Film(first + i, frames, goal, bool(here[i]) if tasks.solvable else None))
        solved.append(here)
        steps.append(taken)
        on_batch(int(here.sum()))
    if tasks.solvable:
        kept = np.concatenate(states) if to_the_end else None
        return Played(np.concatenate(solved), np.zeros((0, 2)), np.concatenate(steps), kept)
    return Played(None, np.concatenate(apart), np.concatenate(steps))


def frames_of(env: WorldEnv) -> UInt8[np.ndarray, "B Y X 3"]:
    """What the environments show now."""
    frames = env.render()
    assert frames is not None
    return np.stack(frames)


def _run_together(
    env: WorldEnv,
    act: Act,
    tasks: Tasks,
    stays: bool,
    keep_frames: bool,
    states: list[Float64[np.ndarray, "B S"]] | None,
) -> tuple[Bool[np.ndarray, " B"], Int64[np.ndarray, " B"], list[UInt8[np.ndarray, "T Y X 3"]]]:
    """Which tasks were solved, the steps taken in each, and its frames.

    Args:
        stays: Whether an episode that terminates stays as it is. Elsewhere one terminates at the environment's own
            goal, which need not be the task's, and the episode can go on.
        states: Gets the states after each step; episodes then go on for the whole budget.
    """

    def is_solved() -> Bool[np.ndarray, " B"]:
        return env.is_solved() if tasks.solvable else np.zeros(env.num_envs, dtype=bool)

    solved = is_solved()
    over, taken = solved.copy(), np.zeros(env.num_envs, dtype=np.int64)
    films = [[frame] for frame in frames_of(env)] if keep_frames else []
    step = 0
    while step < tasks.budget and (states is not None or not over.all()):
        active = np.flatnonzero(~over) if states is None else np.arange(env.num_envs)
        planned = act(active, step)  # (active, K, A)
        for k in range(min(planned.shape[1], tasks.budget - step)):
            actions = np.zeros((env.num_envs, planned.shape[2]), dtype=np.float32)
            actions[active] = planned[:, k]
            _, _, terminated, _, _ = env.step(actions)
            step += 1
            taken += ~over
            if keep_frames:
                frames = frames_of(env)
                for i in np.flatnonzero(~over):
                    films[i].append(frames[i].copy())
            solved = solved | is_solved()
            over = over | solved | (terminated & stays)
            if states is not None:
                states.append(env.state.copy())
            elif over.all():
                break
    return solved, taken, [np.stack(film) for film in films]
