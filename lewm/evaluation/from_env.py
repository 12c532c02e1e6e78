"""Tasks that the environment itself gives: no dataset is needed.

Y and X are the sides of a frame.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
from gymnasium.spaces import Box
from jaxtyping import UInt8

from lewm.errors import LewmError
from lewm.evaluation.tasks import UNSEEN, Placed, Replayed, Task, Tasks, begin
from lewm.model.frames import warn_if_reshaped
from lewm_data.envs.gymnasium.interface import inspect
from lewm_data.envs.gymnasium.simulator import SEEDS
from lewm_data.envs.gymnasium.vector_env import GymnasiumVectorEnv
from lewm_data.envs.judgement import Judgement
from lewm_data.envs.world import World, WorldEnv
from lewm_data.errors import DataError
from lewm_data.video.fit import fitted
from lewm_data.video.pictures import displayed_size, read_image
from lewm_data.video.video import import_av

TRIES = 100  # draws for each task, before drawing is given up
STREAM = 0x7A5C5  # the stream of random numbers: random agents with the same seed have another
SMALLEST = 8  # pixels a side of a goal picture

FROM_ENV, PICTURE = "from-env", "goal-picture"  # protocols


def draw_from_env(
    world: World,
    count: int,
    goal_offset: int,
    budget: int,
    seed: int,
    picture: UInt8[np.ndarray, "Y X 3"] | None = None,
) -> Tasks:
    """`count` tasks from the environment's resets; task i is drawn with the numbers of (seed, i).

    Where states can be set, the goal is the one that comes with the reset. Elsewhere it is where `goal_offset`
    uniformly random actions lead, unless the episode ends before. Starts that already count as solved are drawn again.

    Args:
        picture: A picture to be reached in place of these goals. Success is then known only where the environment tells
            it of its own.

    Raises:
        LewmError: too few of the draws can be used.
    """
    judgement = world.judge() if picture is None else _of_picture(world)
    moves = goal_offset if picture is None else 0
    kept: list[Task] = []
    solved = ended = 0
    with closing(world.make(1, UNSEEN, False)) as env:
        for number in range(TRIES * count):
            rng = np.random.default_rng([STREAM, seed, number])
            start = _placed(env, rng) if world.restorable else _replayed(env, rng, moves)
            if start is None:
                ended += 1
                continue
            begin(env, [start])
            if judgement.known and env.is_solved()[0]:
                solved += 1
                continue
            kept.append(Task(number, 0, start))
            if len(kept) == count:
                break
    if len(kept) < count:
        raise LewmError(
            f"{world.name}: {len(kept)} tasks in {TRIES * count} draws, {count} asked for: {ended} episodes ended "
            f"before their goal {goal_offset} steps ahead, {solved} starts were solved already",
            "Ask for another --goal-offset, or for tasks from a dataset.",
        )
    return Tasks(
        env=world.name,
        protocol=FROM_ENV if picture is None else PICTURE,
        dataset=None,
        each=tuple(kept),
        picture=picture,
        goal_offset=None if world.restorable or picture is not None else goal_offset,
        budget=budget,
        judgement=judgement,
        discarded_solved=solved,
        discarded_ended=ended,
    )


def read_goal(path: Path, frame_size: int, fit: str) -> UInt8[np.ndarray, "Y X 3"]:
    """A goal picture as a frame of `frame_size` a side.

    Args:
        path: A PNG or JPEG picture.
        frame_size: Pixels a side.
        fit: How a picture that is not square becomes so, see `lewm_data.video.placing`.

    Raises:
        LewmError: it is no PNG or JPEG picture, or too small.
        DataError: PyAV is not installed.
    """
    import_av("reading a goal picture")
    try:
        image = read_image(path)
    except DataError as error:
        problem, _ = str(error).split("\n")
        raise LewmError(problem, "Give --goal a PNG or JPEG picture of the goal.") from error
    height, width = displayed_size(image)
    if min(height, width) < SMALLEST:
        raise LewmError(
            f"{path}: {width} x {height} pixels, expected at least {SMALLEST} a side",
            "Give --goal a picture as large as the frames that the run was trained on.",
        )
    warn_if_reshaped(height, width, (frame_size, frame_size), fit)
    return fitted(image, (frame_size, frame_size), fit)


def _placed(env: WorldEnv, rng: np.random.Generator) -> Placed:
    observation, _ = env.reset(seed=int(rng.integers(SEEDS)))
    return Placed(observation["state"][0], observation["goal"][0], {})


def _replayed(env: WorldEnv, rng: np.random.Generator, moves: int) -> Replayed | None:
    """A start at the beginning of an episode; None where that ends before its goal."""
    assert isinstance(env, GymnasiumVectorEnv)
    seed, space = int(rng.integers(SEEDS)), env.single_action_space
    assert isinstance(space, Box)
    none = np.zeros((0, *space.shape), np.float32)
    begin(env, [Replayed(seed, none, none)])
    actions = [none]
    for move in range(moves):
        actions.append(rng.uniform(space.low, space.high).astype(np.float32)[None])
        if move == moves - 1:  # this action leads to the goal, where the episode may end
            break
        _, _, terminated, _, _ = env.step(actions[-1])
        if terminated[0]:
            return None
    return Replayed(seed, none, np.concatenate(actions))


def _of_picture(world: World) -> Judgement:
    """Whether it can be told that a picture is reached: only where the environment tells that its own task is done."""
    if not world.restorable and inspect(world.gymnasium_id).success is not None:
        return world.judge()
    return Judgement(False, "not known, because the goal is a picture, whose state nothing tells")
