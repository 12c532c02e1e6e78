"""Success of a planner on tasks, beside the success of random actions on the same tasks.

B environments at a time, Y and X the sides of a frame, V and U those of a decoded one, N latents, D their width.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from jaxtyping import Bool, Float, Float32, Int64, UInt8
from torch import Tensor

from lewm.evaluation.statistics import wilson_interval
from lewm.evaluation.tasks import Tasks
from lewm.planning.controller import Controller
from lewm_data.envs.world import World, WorldEnv

# Decides for environments `active`, at a step of the budget, what to do for the next few: (active, steps, action_dim).
Act = Callable[[Int64[np.ndarray, " active"], int], Float32[np.ndarray, "active k A"]]
Decode = Callable[[Float[Tensor, "N D"]], UInt8[np.ndarray, "N V U 3"]]
OnProgress = Callable[[float, int], None]  # share of the work done, tasks solved so far


@dataclass(frozen=True)
class Success:
    """How often an agent solved its tasks, with Wilson's 95 % interval."""

    success_rate: float
    successes: int
    episodes: int
    interval_95: tuple[float, float]

    @classmethod
    def of(cls, solved: Bool[np.ndarray, " N"]) -> Success:
        """Counted from one flag an episode."""
        successes, episodes = int(solved.sum()), len(solved)
        return cls(successes / episodes, successes, episodes, wilson_interval(successes, episodes))


@dataclass(frozen=True)
class Film:
    """What happened in one episode, for a video: frames after 0, 1, 2 ... steps until solved or out of budget.

    `imagined` is what was expected, decoded: first the present, then at every step what the plan in force predicts for
    the end of the block that the step belongs to. None when it was not asked for.
    """

    task: int
    frames: UInt8[np.ndarray, "T Y X 3"]
    goal: UInt8[np.ndarray, "Y X 3"]
    solved: bool
    imagined: UInt8[np.ndarray, "T V U 3"] | None = None


@dataclass(frozen=True)
class EvalReport:
    """The result of `evaluate`, with everything needed to judge and repeat it."""

    success_rate: float
    successes: int
    episodes: int
    interval_95: tuple[float, float]
    random: Success
    protocol: str
    goal_offset: int
    budget: int
    discarded_solved: int
    tasks_sha256: str
    seconds_per_plan: float
    planner: dict[str, Any]
    checkpoint_sha256: str
    versions: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def evaluate(
    controller: Controller,
    world: World,
    tasks: Tasks,
    frame_size: int,
    batch: int,
    on_film: Callable[[Film], None] | None = None,
    on_progress: OnProgress = lambda share, solved: None,
    decode: Decode | None = None,
) -> tuple[Bool[np.ndarray, " N"], float]:
    """Plan, execute and replan until each task is solved or its budget is spent.

    An episode's actions do not depend on `batch` or on the other tasks.

    Args:
        frame_size: Pixels a side that the environment draws: as in training, so that the model resizes alike.
        batch: Episodes that run together.
        on_film: Given what happened in each episode, in the order of the tasks.
        on_progress: Called whenever the planner says how far it is.
        decode: Given, films also show what the plans expect.

    Returns:
        Whether each task was solved, and the seconds that one plan took (the mean over all plans).
    """
    seconds, plans = 0.0, 0
    meter = _Meter(on_progress, -(-len(tasks) // batch), -(-tasks.budget // controller.execute))
    imagination = _Imagination(controller, decode, on_film) if decode and on_film else None

    def episodes_of(first: int, env: WorldEnv) -> Act:
        goals = controller.embed(env.render_goal())
        replan = 0

        def act(active: np.ndarray, step: int) -> np.ndarray:
            nonlocal seconds, plans, replan
            frames = _frames(env)
            begun = time.perf_counter()
            meter.replan = replan
            actions = controller.plan(frames[active], goals[active], first + active, replan, meter.iteration)
            seconds, plans, replan = seconds + time.perf_counter() - begun, plans + len(active), replan + 1
            actions = actions[:, : controller.execute]
            if imagination:
                imagination.planned(first + active, frames[active], actions)
            return actions

        return act

    solved = []
    for some in _play(world, tasks, frame_size, batch, episodes_of, imagination.film if imagination else on_film):
        solved.append(some)
        meter.batch_finished(int(some.sum()))
    return np.concatenate(solved), seconds / max(1, plans)


class _Meter:
    """Turns planner iterations into a share of all the work; what early success saves is skipped."""

    def __init__(self, report: OnProgress, batches: int, plans: int) -> None:
        self.report, self.batches, self.plans = report, batches, plans
        self.finished = self.solved = self.replan = 0

    def iteration(self, share_of_plan: float) -> None:
        self.report((self.finished + (self.replan + share_of_plan) / self.plans) / self.batches, self.solved)

    def batch_finished(self, solved: int) -> None:
        self.finished, self.solved = self.finished + 1, self.solved + solved
        self.report(self.finished / self.batches, self.solved)


class _Imagination:
    """Adds to each film what its plans expected."""

    def __init__(self, controller: Controller, decode: Decode, on_film: Callable[[Film], None]) -> None:
        self.controller, self.decode, self.on_film = controller, decode, on_film
        self.expected: defaultdict[int, list[np.ndarray]] = defaultdict(list)  # a picture (V, U, 3) a block, by task

    def planned(self, tasks: Int64[np.ndarray, " B"], frames: np.ndarray, actions: np.ndarray) -> None:
        latents = self.controller.imagine(frames, actions)  # (B, H, D)
        pictures = self.decode(latents.flatten(0, 1))
        for task, blocks in zip(tasks.tolist(), np.split(pictures, len(tasks)), strict=True):
            self.expected[task].extend(blocks)

    def film(self, film: Film) -> None:
        present = self.decode(self.controller.embed(film.frames[:1]))
        skip = self.controller.model.config.frameskip
        steps = [picture for picture in self.expected.pop(film.task, []) for _ in range(skip)]
        self.on_film(replace(film, imagined=np.stack([*present, *steps][: len(film.frames)])))


def random_floor(world: World, tasks: Tasks, seed: int) -> Bool[np.ndarray, " N"]:
    """Whether uniformly random actions solve each task within the same budget."""

    def episodes_of(first: int, env: WorldEnv) -> Act:
        space = env.single_action_space
        assert isinstance(space, Box)
        low, high = space.low, space.high
        shape = (tasks.budget, *low.shape)
        actions = [np.random.default_rng([seed, first + i]).uniform(low, high, shape) for i in range(env.num_envs)]
        drawn = np.stack(actions).astype(np.float32)
        return lambda active, step: drawn[active, step:]

    return np.concatenate(list(_play(world, tasks, 16, len(tasks), episodes_of, None)))


def _play(
    world: World,
    tasks: Tasks,
    frame_size: int,
    batch: int,
    episodes_of: Callable[[int, WorldEnv], Act],
    on_film: Callable[[Film], None] | None,
) -> Iterator[Bool[np.ndarray, " B"]]:
    """Run the tasks, `batch` at a time; which were solved at any step of the budget."""
    for first in range(0, len(tasks), batch):
        some = slice(first, min(first + batch, len(tasks)))
        env = world.make(some.stop - first, frame_size, False)
        begin = {"state": tasks.start[some], "goal": tasks.goal[some], "factors": tasks.factors[some]}
        env.reset(seed=0, options=begin)
        solved, frames = _play_together(env, episodes_of(first, env), tasks.budget, on_film is not None)
        if on_film is not None:
            goals = env.render_goal()
            for i, film in enumerate(frames):
                on_film(Film(first + i, film, goals[i], bool(solved[i])))
        env.close()
        yield solved


def _play_together(
    env: WorldEnv, act: Act, budget: int, keep_frames: bool
) -> tuple[Bool[np.ndarray, " B"], list[UInt8[np.ndarray, "T Y X 3"]]]:
    solved = env.is_solved()
    films = [[frame] for frame in _frames(env)] if keep_frames else []
    step = 0
    while step < budget and not solved.all():
        active = np.flatnonzero(~solved)
        planned = act(active, step)  # (active, k, action_dim)
        for k in range(min(planned.shape[1], budget - step)):
            actions = np.zeros((env.num_envs, planned.shape[2]), dtype=np.float32)
            actions[active] = planned[:, k]
            env.step(actions)
            step += 1
            if keep_frames:
                frames = _frames(env)
                for i in np.flatnonzero(~solved):
                    films[i].append(frames[i].copy())
            solved = solved | env.is_solved()
            if solved.all():
                break
    return solved, [np.stack(film) for film in films]


def _frames(env: WorldEnv) -> UInt8[np.ndarray, "B Y X 3"]:
    frames = env.render()
    assert frames is not None
    return np.stack(frames)
