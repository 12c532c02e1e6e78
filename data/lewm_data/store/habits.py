"""What published writers do otherwise than lewm, found in a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lewm_data.envs.registry import known_world, plain_name
from lewm_data.store.salvage import Salvaged
from lewm_data.store.schema import ACTION, REWARD, STEP

STATE = "state"
MARKS = ("id", "render_time")  # columns that stable-worldmodel's World adds to every recording


@dataclass(frozen=True)
class Habits:
    """What a writer does otherwise than lewm.

    Attributes:
        last_actions: In how many episodes the last row has an action, and in how many of them that is the first one.
        shifted_reward: Whether a row has the reward of the action before it.
        gaps: Rows within episodes that have no action.
        bad_rewards: Whether other rewards are no numbers.
        published_states: Whether the states are in the unit of published files.
    """

    last_actions: tuple[int, int]
    shifted_reward: bool
    gaps: frozenset[int]
    bad_rewards: bool
    published_states: bool

    @classmethod
    def of(cls, salvaged: Salvaged) -> Habits:
        """The habits of a file's writer."""
        kept = np.flatnonzero(salvaged.whole)
        offsets, lengths = salvaged.offsets[kept], salvaged.lengths[kept]
        actions = salvaged.column(ACTION)
        actions = actions.reshape(len(actions), -1)
        bad = ~np.isfinite(actions).all(axis=1)
        last = offsets + lengths - 1
        given = last[~bad[last] & (lengths > 1)]
        same = int((actions[given] == actions[offsets[~bad[last] & (lengths > 1)]]).all(axis=1).sum())
        within = np.concatenate([np.arange(o, o + n - 1) for o, n in zip(offsets, lengths, strict=True)] or [kept])
        gaps = frozenset(within[bad[within]].tolist())
        shifted = wrong = False
        if REWARD in salvaged.columns:
            rewards = salvaged.column(REWARD)
            wrong_rows = ~np.isfinite(rewards.reshape(len(rewards), -1)).all(axis=1)
            everywhere = bool(len(given)) and len(given) == int((lengths > 1).sum())
            older = everywhere and _without_reset(salvaged, offsets)
            shifted = bool(len(offsets)) and (older or bool(wrong_rows[offsets].all()))
            inner = np.setdiff1d(within, offsets) if shifted else within
            wrong = bool(wrong_rows[inner].any())
        return cls((len(given), same), shifted, gaps, wrong, _published(salvaged, offsets, lengths))

    def runs(self, salvaged: Salvaged, number: int) -> Iterator[tuple[int, int]]:
        """The rows of an episode from which each new one is made: it ends at a row that has no action."""
        first = int(salvaged.offsets[number])
        end = first + int(salvaged.lengths[number])
        for gap in sorted(row for row in self.gaps if first <= row < end - 1):
            yield first, gap + 1
            first = gap + 1
        yield first, end


def _without_reset(salvaged: Salvaged, offsets: np.ndarray) -> bool:
    """Whether stable-worldmodel 0.1.1 wrote this, whose rewards stand late: it counts from 1, or has its marks."""
    if STEP in salvaged.columns and salvaged.file[STEP].ndim == 1:
        return bool((salvaged.column(STEP)[offsets] == 1).all())
    return set(MARKS) <= set(salvaged.columns)


def _published(salvaged: Salvaged, offsets: np.ndarray, lengths: np.ndarray) -> bool:
    """Whether the states are in the unit of published files of their world."""
    world = known_world(plain_name(said)) if (said := salvaged.attributes.get("env")) is not None else None
    if world is None or STATE not in salvaged.columns or not len(offsets):
        return False
    rows = salvaged.column(STATE).astype(np.float64)
    return rows.ndim == 2 and rows.shape[1] == world.state_dim and not np.array_equal(world.from_published(rows), rows)
