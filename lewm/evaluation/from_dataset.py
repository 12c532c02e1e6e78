"""Tasks from the episodes of a dataset: the goal is a later moment of the same episode as the start.

N rows of the dataset, E episodes, W windows from a start to its goal, n of them, S state width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import numpy as np
from jaxtyping import Float64, Int64

from lewm.datasets import fingerprint_of
from lewm.errors import LewmError, unknown
from lewm.evaluation.tasks import HELD_OUT, PAPER, UNSEEN, UNSOLVED, Placed, Replayed, Start, Task, Tasks, begin
from lewm.world_states import states_of
from lewm_data.collection.factors import PREFIX, recorded_factors
from lewm_data.envs.world import World
from lewm_data.store.dataset import Dataset
from lewm_data.store.schema import ACTION

PROTOCOLS = (HELD_OUT, UNSOLVED, PAPER)

SEED = "episode_seed"  # the column with the seed of an episode's environment


def draw_tasks(
    dataset: Dataset,
    world: World,
    protocol: str,
    held_out: Int64[np.ndarray, " E"],
    count: int,
    goal_offset: int,
    budget: int,
    seed: int,
) -> Tasks:
    """`count` different (episode, step) pairs in random order, by a named protocol.

    Args:
        held_out: The episodes that training did not see.

    Raises:
        LewmError: the protocol is unknown, the dataset does not say how to come to its moments again, or there are
            fewer windows than tasks.
    """
    if protocol not in PROTOCOLS:
        raise unknown("protocol", protocol, PROTOCOLS)
    states = stated_states(dataset, world) if world.restorable else None
    if states is None and SEED not in dataset.columns:
        raise LewmError(
            f"{dataset.path}: no column '{SEED}' to start tasks from: {world.name} is replayed from seeds",
            'Use data made by "lewm collect".',
        )
    episodes = held_out if protocol == HELD_OUT else np.arange(dataset.num_episodes)
    windows = [
        (episode, step)
        for episode in episodes.tolist()
        for step in range(max(0, int(dataset.lengths[episode]) - goal_offset))
    ]
    if not windows:
        raise _too_short(dataset, dataset.lengths[episodes], protocol, goal_offset, count)
    if len(windows) < count:
        raise _too_few(dataset, len(windows), len(windows), protocol, goal_offset, count)
    judgement = world.judge()  # may be tried out, which takes long, so all else is checked before
    order = np.random.default_rng([seed, len(windows)]).permutation(len(windows))
    drawn = np.array(windows, dtype=np.int64).reshape(-1, 2)[order]  # (W, 2)
    rows = dataset.offsets[drawn[:, 0]] + drawn[:, 1]  # (W,)
    if protocol == PAPER or not judgement.known:
        usable = np.arange(len(drawn))[:count]
    elif states is not None:
        usable = np.flatnonzero(~world.solved(states[rows], states[rows + goal_offset]))[:count]
    else:
        usable = _unsolved(dataset, world, drawn, count, goal_offset)
    if len(usable) < count:
        raise _too_few(dataset, len(usable), len(windows), protocol, goal_offset, count)
    chosen = drawn[usable]
    starts: Iterator[Start]
    if states is not None:
        starts = placed(dataset, states, rows[usable], goal_offset)
    else:
        starts = _replayed(dataset, chosen, goal_offset)
    return Tasks(
        env=world.name,
        protocol=protocol,
        dataset=fingerprint_of(dataset),
        each=tuple(map(Task, chosen[:, 0].tolist(), chosen[:, 1].tolist(), starts)),
        picture=None,
        goal_offset=goal_offset,
        budget=budget,
        judgement=judgement,
        discarded_solved=int(usable[-1]) + 1 - count,
        discarded_ended=0,
    )


def _too_short(
    dataset: Dataset, lengths: Int64[np.ndarray, " E"], protocol: str, goal_offset: int, count: int
) -> LewmError:
    """No episode that the protocol takes is as long as the goals are ahead."""
    longest, all_longest = int(lengths.max(initial=1)) - 1, int(dataset.lengths.max()) - 1
    fits = next((nearer for nearer in range(longest, 0, -1) if np.maximum(lengths - nearer, 0).sum() >= count), None)
    nearer = "" if fits is None else f"Give --goal-offset {fits} or less, or "
    if protocol != HELD_OUT or goal_offset > all_longest:
        return LewmError(
            f"{dataset.path}: the longest episode has {all_longest} steps, and the goals are {goal_offset} steps ahead",
            f'{nearer}train on longer episodes: "lewm collect --max-steps" says when one is cut.',
        )
    return LewmError(
        f"{dataset.path}: the {len(lengths)} held-out episodes have at most {longest} steps, and the goals are "
        f"{goal_offset} steps ahead",
        f"{nearer}hold out more episodes: lewm train --set training.held_out=0.3.",
    )


def _too_few(dataset: Dataset, found: int, windows: int, protocol: str, goal_offset: int, count: int) -> LewmError:
    """There are windows, but fewer that can be used than tasks were asked for."""
    if not found:
        return LewmError(
            f"{dataset.path}: all {windows} starts with a goal {goal_offset} steps later count as solved already",
            f"Give a larger --goal-offset, or --protocol {PAPER}, which takes such starts too.",
        )
    solved = f", and {windows - found} of their {windows} starts count as solved" if windows > found else ""
    some = str(found) if windows > found else f"at most {found}"  # it was not looked at yet which count as solved
    enough = int((dataset.lengths > goal_offset).sum())
    return LewmError(
        f"{dataset.path}: {some} different {protocol} tasks with the goal {goal_offset} steps ahead, {count} asked "
        f"for; {enough} of {len(dataset.lengths)} episodes are that long{solved}",
        f"Ask for --episodes {found} or fewer, or for another --goal-offset, or train on more or longer episodes.",
    )


def stated_states(dataset: Dataset, world: World) -> Float64[np.ndarray, "N S"]:
    """The state at every row.

    Raises:
        LewmError: The dataset does not hold the world's states.
    """
    states = states_of(dataset, world)
    if states is None:
        parts = f" nor {', '.join(world.state_columns)}" if world.state_columns != ("state",) else ""
        raise LewmError(
            f"{dataset.path}: no column 'state'{parts} of {world.state_dim} numbers to start tasks from",
            'Use data made by "lewm collect".',
        )
    return states


def placed(
    dataset: Dataset, states: Float64[np.ndarray, "N S"], rows: Int64[np.ndarray, " W"], goal_offset: int
) -> Iterator[Placed]:
    """The starts at some rows, whose goals are `goal_offset` rows later."""
    names = [name for name in dataset.columns if name.startswith(PREFIX)]
    factors = recorded_factors({name: dataset.column(name)[rows] for name in names}, len(rows))
    return map(Placed, states[rows], states[rows + goal_offset], factors)


def _replayed(dataset: Dataset, windows: Int64[np.ndarray, "W 2"], goal_offset: int) -> Iterator[Replayed]:
    seeds, actions = dataset.column(SEED), dataset.column(ACTION).astype(np.float32)
    for episode, step in windows.tolist():
        begun = int(dataset.offsets[episode])
        start = begun + step
        yield Replayed(int(seeds[begun]), actions[begun:start], actions[start : start + goal_offset])


def _unsolved(
    dataset: Dataset, world: World, drawn: Int64[np.ndarray, "W 2"], count: int, goal_offset: int
) -> Int64[np.ndarray, " n"]:
    """The first `count` windows at whose start the environment itself does not say that its task is solved."""
    usable: list[int] = []
    with closing(world.make(1, UNSEEN, False)) as env:
        for number, start in enumerate(_replayed(dataset, drawn, goal_offset)):
            if len(usable) == count:
                break
            begin(env, [start])
            if not env.is_solved()[0]:
                usable.append(number)
    return np.array(usable, dtype=np.int64)
