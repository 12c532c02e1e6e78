"""Events against physics, and the unperturbed episode with which each is compared.

A world's perturbations are functions of an episode, the frame at which something happens, and a generator.
The perturbations here need only frames and actions, so any world can have them.

Letters: T frames of an episode, K of them, S state width, A action dimension, W actions in a row, Y and X the sides
of a frame.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from lewm_data.errors import DataError

FIRST_ONSET = 2  # with fewer frames before the onset, no motion is seen that an event could contradict
TOLD_STEPS = 5  # actions that the model is told for a frame: the block of one model step, arXiv 2603.19312


@dataclass(frozen=True)
class Episode:
    """An unperturbed episode.

    Attributes:
        frames: The frames that were seen.
        states: `states[t]` is the state that frame t shows.
        actions: `actions[t]` leads from frame t to frame t + 1.
        factors: The world's factors of variation; None where it has none.
    """

    frames: UInt8[np.ndarray, "T Y X 3"]
    states: Float64[np.ndarray, "T S"]
    actions: Float32[np.ndarray, "T-1 A"]
    factors: Any


@dataclass(frozen=True)
class Twin:
    """A perturbed episode: the frames that are shown and the actions that are told in the place of the true ones.

    Attributes:
        frames: The frames that are shown: as many as the episode has, and equal to them before `onset`.
        actions: The actions that the model is told.
        onset: The first frame that can look wrong.
    """

    frames: UInt8[np.ndarray, "T Y X 3"]
    actions: Float32[np.ndarray, "T-1 A"]
    onset: int


# Maps (episode, the frame at which it happens, generator) to the perturbed twin.
Perturbation = Callable[[Episode, int, np.random.Generator], Twin]

# Maps the same arguments to the frames that are shown from the onset to the end of the episode.
Continuation = Callable[[Episode, int, np.random.Generator], UInt8[np.ndarray, "K Y X 3"]]


def shown(continuation: Continuation) -> Perturbation:
    """The perturbation that shows `continuation` and tells the episode's own actions.

    It raises a DataError where the onset is not from 2 to the last frame.
    """

    def perturbed(episode: Episode, onset: int, rng: np.random.Generator) -> Twin:
        _check_onset(episode, onset)
        frames = np.concatenate([episode.frames[:onset], continuation(episode, onset, rng)])
        return Twin(frames, episode.actions, onset)

    return perturbed


def frozen(episode: Episode, onset: int, rng: np.random.Generator) -> UInt8[np.ndarray, "K Y X 3"]:
    """Nothing moves any more, whatever the actions."""
    return np.repeat(episode.frames[onset - 1 : onset], len(episode.frames) - onset, axis=0)


def time_reversed(episode: Episode, onset: int, rng: np.random.Generator) -> UInt8[np.ndarray, "K Y X 3"]:
    """The frames run backwards, and from the beginning of the episode forwards again."""
    backwards = onset - 2 - np.arange(len(episode.frames) - onset)
    return episode.frames[np.abs(backwards)]


def action_swapped(episode: Episode, onset: int, rng: np.random.Generator) -> Twin:
    """The frames are true, but the actions that are told for the steps up to `onset` are those of another time.

    The last 5 actions before `onset`, fewer at the beginning, are replaced by as many in a row that do not overlap
    them: a random choice among the quarter whose mean action is farthest from theirs.

    Raises:
        DataError: An onset that is not from 2 to the last frame, or an episode too short to have others.
    """
    _check_onset(episode, onset)
    begin = max(onset - TOLD_STEPS, 0)
    width = onset - begin
    rows = np.lib.stride_tricks.sliding_window_view(episode.actions, width, axis=0)  # (T-W, A, W)
    others = np.flatnonzero(np.abs(np.arange(len(rows)) - begin) >= width)
    if not len(others):
        raise DataError(
            f"an episode of {len(episode.actions)} actions has no {width} in a row besides those before frame {onset}",
            f"Take episodes of at least {3 * TOLD_STEPS} actions.",
        )
    mean = rows.mean(axis=2)
    difference = np.linalg.norm(mean[others] - mean[begin], axis=1)
    farthest = others[np.argsort(-difference, kind="stable")[: -(-len(others) // 4)]]
    chosen = int(rng.choice(farthest))
    actions = episode.actions.copy()
    actions[begin:onset] = episode.actions[chosen : chosen + width]
    return Twin(episode.frames, actions, onset)


def _check_onset(episode: Episode, onset: int) -> None:
    if not FIRST_ONSET <= onset < len(episode.frames):
        raise DataError(
            f"onset is frame {onset} of an episode of {len(episode.frames)} frames, "
            f"expected {FIRST_ONSET} to {len(episode.frames) - 1}",
            "Frames count from 0; let something be seen before it happens.",
        )
