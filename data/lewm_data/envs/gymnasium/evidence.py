"""Whether the states of an environment determine its pictures, so that they tell whether a goal is reached.

A direction, a constant or the number of steps may be all that an environment observes in numbers. Many moments then
have the state of the goal, and look otherwise. So episodes of random actions are played from the same seed, because a
task and its goal are of one episode, and two things are asked:

- Do moments with equal states look the same? One pair that does not is proof enough.
- Do moments look alike whose states count as solved for one another? States of continuous numbers are hardly ever
  equal. So these pairs, from different episodes, are compared with all pairs at the same two steps, so that states
  which only tell the time explain nothing. Pairs with the same past are left out: they look the same in any case.

Something small in the picture that no number says can escape this, where random actions hardly move it.

Letters: M moments, S state width, Y and X the sides of a frame.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from itertools import count

import numpy as np
from gymnasium.spaces import Box
from jaxtyping import Float64, Int64, Shaped, UInt8

from lewm_data.envs.gymnasium.simulator import GymnasiumSimulator, Solved
from lewm_data.envs.judgement import BY_STATES, Judgement, OnShare, unheard

SEEDS = (0, 1)
MOMENTS, EPISODES, STEPS = 300, 100, 100  # of a seed: moments that are drawn, or else episodes, and steps of each
EVERY = 3  # steps from one moment that is drawn to the next
KEPT = 0.8  # probability that an action is taken again: independent ones lead nowhere
SIDE = 32  # pixels a side

VISIBLE = 8  # of 255: a difference between pixels that is more than the rounding of a renderer
LEAST_PAIRS = 100  # on fewer pairs nothing is founded
ALIKE = 0.5  # pairs with the same state differ at most by this part of the usual difference


@dataclass(frozen=True)
class Moments:
    """Moments of episodes of one seed.

    Attributes:
        states: The numbers that are observed.
        frames: What they look like.
        episode: The episode that each is of.
        step: Its place among the drawn moments of its episode, from 0.
        past: Digests of what was observed until then: equal ones mean the same past.
    """

    states: Float64[np.ndarray, "M S"]
    frames: UInt8[np.ndarray, "M Y X 3"]
    episode: Int64[np.ndarray, " M"]
    step: Int64[np.ndarray, " M"]
    past: Shaped[np.ndarray, " M"]


def judge_states(make: Callable[[int], GymnasiumSimulator], solved: Solved, on_share: OnShare = unheard) -> Judgement:
    """Plays episodes and says whether states tell that a goal is reached.

    Args:
        make: Makes a simulator with frames of so many pixels a side.
        solved: Which states count as solved for which goals.
        on_share: Called after each moment that is drawn, with the share of the trial that is done.
    """
    recorded: list[Moments] = []

    def of_one_seed(share: float) -> None:
        on_share((len(recorded) + share) / len(SEEDS))

    with closing(make(SIDE)) as simulator:
        for seed in SEEDS:
            recorded.append(record(simulator, seed, of_one_seed))
        return judgement(recorded, solved)


def record(simulator: GymnasiumSimulator, seed: int, on_share: OnShare = unheard) -> Moments:
    """Moments of episodes that begin with `seed` and have different actions."""
    seen: list[tuple[np.ndarray, np.ndarray, int, int, str]] = []
    space = simulator.action_space
    assert isinstance(space, Box)
    for episode in count():
        if len(seen) >= MOMENTS or episode == EPISODES:
            break
        rng = np.random.default_rng([seed, episode])
        simulator.replay(seed, np.zeros((0, *space.shape), np.float32))
        action = np.zeros(space.shape, np.float32)
        for step in range(STEPS + 1):
            if step % EVERY == 0:
                seen.append((simulator.state, simulator.render(), episode, step // EVERY, simulator.past))
                on_share(min(1.0, max(len(seen) / MOMENTS, episode / EPISODES)))
            if simulator.ended:
                break
            if step == 0 or rng.random() > KEPT:
                action = rng.uniform(space.low, space.high).astype(np.float32)
            simulator.step(action)
    states, frames, *others = zip(*seen, strict=True)
    return Moments(np.stack(states), np.stack(frames), *map(np.array, others))


def judgement(recorded: list[Moments], solved: Solved) -> Judgement:
    """What the recorded moments of several seeds say."""
    equal = look_different = near = 0
    found = usual = 0.0
    for moments in recorded:
        states, rows = moments.states, np.arange(len(moments.states))
        mean, most = _differences(moments.frames)
        same = np.stack([(states == state).all(axis=1) for state in states]) & (rows[:, None] < rows)
        equal += int(same.sum())
        look_different += int((same & (most > VISIBLE)).sum())
        expected = _usual(moments, mean)
        other_past = (moments.episode[:, None] < moments.episode) & (moments.past[:, None] != moments.past)
        reached = np.stack([solved(states, np.broadcast_to(goal, states.shape)) for goal in states])
        pairs = reached & other_past & (expected > 0)
        near += int(pairs.sum())
        found, usual = found + float(mean[pairs].sum()), usual + float(expected[pairs].sum())
    if look_different:
        return _undetermined(f"{look_different:,} of {equal:,} pairs of moments with equal states look different")
    if near < LEAST_PAIRS:
        counted = "1 pair of moments counts" if near == 1 else f"{near:,} pairs of moments count"
        return Judgement(
            False,
            "not known, because too few states are near one another to tell whether they show what the picture shows: "
            f"{counted} as the same in a trial",
        )
    share = f"{found / usual:.2f} of the usual difference, in {near:,} pairs"
    if found > ALIKE * usual:
        return _undetermined(f"moments that count as the same look different ({share})")
    return Judgement(True, f"{BY_STATES.said}: moments that count as the same look alike ({share})")


def _undetermined(why: str) -> Judgement:
    return Judgement(False, f"not known, because states do not show all that the picture shows: {why}")


def _differences(
    frames: UInt8[np.ndarray, "M Y X 3"],
) -> tuple[Float64[np.ndarray, "M M"], Float64[np.ndarray, "M M"]]:
    """The mean and the greatest difference between the pixels of each two frames."""
    flat = frames.reshape(len(frames), -1).astype(np.float32)
    mean, most = np.zeros((2, len(flat), len(flat)))
    for row, frame in enumerate(flat):
        apart = np.abs(flat - frame)
        mean[row], most[row] = apart.mean(axis=1), apart.max(axis=1)
    return mean, most


def _usual(moments: Moments, difference: Float64[np.ndarray, "M M"]) -> Float64[np.ndarray, "M M"]:
    """For each two moments, the mean difference of all at their two steps that are of different episodes."""
    steps = int(moments.step.max()) + 1
    at = np.eye(steps)[moments.step]  # (M, steps)
    others = moments.episode[:, None] != moments.episode
    total, number = at.T @ (difference * others) @ at, at.T @ others @ at
    return (total / np.maximum(number, 1))[moments.step[:, None], moments.step]
