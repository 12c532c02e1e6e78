"""Clips: the frames and action blocks that a model sees together, never across two episodes.

Shape letters: E episodes chosen, C clips, B clips asked for, T frames of a clip, F frameskip, D action
dimension of one environment step, A = F × D width of an action block, N recorded actions; TF is a product.
"""

import secrets
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int, Int64, UInt8

from lewm_data.errors import DataError
from lewm_data.seeds import check_seed
from lewm_data.store.dataset import Dataset
from lewm_data.store.schema import ACTION

CONSTANT = 1e-6  # a standard deviation below this, relative to the mean's size, is float32 rounding of one value


@dataclass(frozen=True)
class ClipBatch:
    """Clips in environment units.

    Attributes:
        frames: Every F-th frame.
        actions: Block t holds the F actions from frame t on, in order; an action that is not there is 0.
    """

    frames: UInt8[np.ndarray, "B T Y X 3"]
    actions: Float32[np.ndarray, "B T A"]


class Clips:
    """Every clip of some episodes: one for each start from which `num_frames` × `frameskip` steps fit.

    Clips are in the order of `episodes`, then of their starts.

    Args:
        dataset: The dataset that they are read from; it stays open.
        num_frames: T.
        frameskip: F, environment steps from one frame of a clip to the next.
        episodes: The episodes (E,); all if None.

    Attributes:
        too_short: Number of episodes that have no clip.

        Raises:
            DataError: No episode is long enough, or a number in `episodes` is out of range.
    """

    def __init__(
        self, dataset: Dataset, num_frames: int, frameskip: int, episodes: Int[np.ndarray, "E"] | None = None
    ) -> None:
        if num_frames < 1 or frameskip < 1:
            raise DataError(f"clips of {num_frames} frames at frameskip {frameskip}", "Both are at least 1.")
        self.dataset, self.num_frames, self.frameskip = dataset, num_frames, frameskip
        self.episodes = np.arange(dataset.num_episodes) if episodes is None else episodes
        dataset.rows(self.episodes)  # refuses numbers that are out of range
        steps = num_frames * frameskip
        lengths = dataset.lengths[self.episodes]
        if not len(lengths) or lengths.max() < steps:
            longest = (
                f"the longest, episode {self.episodes[lengths.argmax()]}, has {lengths.max()}"
                if len(lengths)
                else "none were chosen"
            )
            raise DataError(
                f"{dataset.path}: no episode has the {steps} steps of a clip ({num_frames} frames at "
                f"frameskip {frameskip}); {longest}",
                "Lower model.frameskip or model.predictor.history with --set, or collect longer episodes.",
            )
        self.too_short = int((lengths < steps).sum())
        self._ends = np.cumsum(np.maximum(lengths - steps + 1, 0))  # (E,) number of clips up to the end of each episode
        self._actions = np.nan_to_num(dataset.column(ACTION).astype(np.float32), nan=0.0)  # (N, D)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def locate(self, indices: Int[np.ndarray, "B"]) -> tuple[Int64[np.ndarray, "B"], Int64[np.ndarray, "B"]]:
        """The episode, and the step in it, at which each clip starts."""
        if len(indices) and not (indices.min() >= 0 and indices.max() < len(self)):
            raise IndexError(f"clips {indices.min()} to {indices.max()} of {len(self)}")
        place = np.searchsorted(self._ends, indices, side="right")
        starts = indices - np.where(place > 0, self._ends[place - 1], 0)
        return self.episodes[place].astype(np.int64), starts.astype(np.int64)

    def read(self, indices: Int[np.ndarray, "B"]) -> ClipBatch:
        """The clips `indices`, in that order. One random frame of them is compared with its hash.

        Raises:
            DataError: The frame differs, or frames cannot be read: the dataset was changed since it was opened.
        """
        steps = self.steps(indices)  # (B, T F)
        shown = steps[:, :: self.frameskip].reshape(-1)  # (B T)
        frames = self.dataset.frames(shown)  # (B T, Y, X, 3)
        place = secrets.randbelow(max(len(shown), 1))  # changes no generator of the caller
        self.dataset.check_frames(shown[place : place + 1], frames[place : place + 1])
        return ClipBatch(frames.reshape(len(steps), self.num_frames, *frames.shape[1:]), self.blocks(steps))

    def steps(self, indices: Int[np.ndarray, "B"]) -> Int64[np.ndarray, "B TF"]:
        """The rows of every step of some clips in the dataset; each `frameskip`-th is shown."""
        episodes, starts = self.locate(indices)
        rows = self.dataset.offsets[episodes] + starts  # (B,)
        return rows[:, None] + np.arange(self.num_frames * self.frameskip)

    def blocks(self, steps: Int64[np.ndarray, "B TF"]) -> Float32[np.ndarray, "B T A"]:
        """The action blocks of clips with these steps."""
        return self._actions[steps].reshape(len(steps), self.num_frames, -1)


def split_episodes(
    num_episodes: int, held_out: float, seed: int, seen: int | None = None
) -> tuple[Int64[np.ndarray, "K"], Int64[np.ndarray, "H"]]:
    """The episodes to train on, and those that are held out, both ascending: a function of the arguments alone.

    Args:
        num_episodes: Episodes of the dataset.
        held_out: The share to hold out, above 0 and below 1; at least one episode and at most all but one.
        seed: Seed of the choice.
        seen: How many to train on; all that are not held out if None. The held-out ones do not depend on it, and more
            episodes to train on contain those of a smaller number.

    Raises:
        DataError: Fewer than two episodes, a share outside (0, 1), or fewer episodes to train on than `seen`.
    """
    if num_episodes < 2:
        raise DataError(
            f"{num_episodes} episodes cannot be split into some to train on and some held out",
            "Collect at least 2.",
        )
    if not 0 < held_out < 1:
        raise DataError(f"held-out share {held_out}, expected above 0 and below 1", "0.1 is usual.")
    count = min(max(round(num_episodes * held_out), 1), num_episodes - 1)
    order = shuffled(num_episodes, seed, stream=0)
    rest = num_episodes - count
    if seen is not None and not 1 <= seen <= rest:
        raise DataError(
            f"{seen} episodes to train on were asked for: of {num_episodes}, {count} are held out and {rest} are left",
            f"Set training.episodes to at most {rest}, or to none for all of them, or collect more episodes.",
        )
    return np.sort(order[count:][:seen]), np.sort(order[:count])


def action_statistics(
    dataset: Dataset, episodes: Int[np.ndarray, "E"] | None = None
) -> tuple[Float64[np.ndarray, "D"], Float64[np.ndarray, "D"]]:
    """Mean and unbiased standard deviation of the actions, rows with NaN left out.

    An action that never varies gets the standard deviation 1, so that it is 0 when normalised.

    Raises:
        DataError: Fewer than two actions, or there is no such episode.
    """
    actions = recorded_actions(dataset, episodes)
    return actions.mean(axis=0), np.where(varies(actions), actions.std(axis=0, ddof=1), 1.0)


def recorded_actions(dataset: Dataset, episodes: Int[np.ndarray, "E"] | None = None) -> Float64[np.ndarray, "N D"]:
    """The actions of some episodes, or of all, rows with NaN left out.

    Raises:
        DataError: Fewer than two actions, or there is no such episode.
    """
    actions = dataset.column(ACTION, episodes).astype(np.float64)
    actions = actions[~np.isnan(actions).any(axis=1)]
    if len(actions) < 2:
        raise DataError(
            f"{dataset.path}: {len(actions)} actions have no standard deviation",
            "Use more or longer episodes.",
        )
    return actions


def varies(actions: Float64[np.ndarray, "N D"]) -> Bool[np.ndarray, "D"]:
    """Whether each dimension has more than one value, apart from float32 rounding."""
    mean, std = actions.mean(axis=0), actions.std(axis=0, ddof=1)
    return std > CONSTANT * np.maximum(np.abs(mean), 1e-30)


def shuffled(count: int, seed: int, stream: int) -> Int64[np.ndarray, "C"]:
    """A permutation keyed by (seed, stream): the ranks of raw Philox numbers, which are the same in all NumPy releases.

    Raises:
        DataError: The seed does not fit in 64 bits.
    """
    check_seed(seed)
    keys = np.random.Philox(key=np.array([seed, stream], np.uint64)).random_raw(count)
    return np.argsort(keys, kind="stable")
