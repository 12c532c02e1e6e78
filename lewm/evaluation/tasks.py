"""What is asked of a planner: where to begin, what to reach, and in how many steps.

N environments, S state width, K and G actions, A action width, Y and X the sides of a frame, E episodes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8

from lewm_data.envs.gymnasium.vector_env import GymnasiumVectorEnv
from lewm_data.envs.judgement import Judgement
from lewm_data.envs.world import WorldEnv

UNSEEN = 16  # pixels a side of the frames of environments whose frames nobody looks at

# Named ways of choosing tasks from a dataset; all take the goal `goal_offset` steps after the start, from the same
# episode.
#   held-out  episodes that no training step saw; starts that already count as solved are drawn again, and counted
#   unsolved  the same from any episode, for runs of which it is not known what their training saw
#   paper     any episode and any start, as in arXiv 2603.19312 v3
HELD_OUT, UNSOLVED, PAPER = "held-out", "unsolved", "paper"
CLEAR = "CLEAR-LeWM"  # with the name of its protocol: pairs that a manifest of CLEAR-LeWM lists
NOT_KNOWN = "it is not known whether training saw their episodes"


@dataclass(frozen=True)
class Placed:
    """A start in a world whose states can be set.

    Attributes:
        state, goal: States of the environment.
        factors: The environment's factors of variation, by name; those that did not vary are left out.
    """

    state: Float64[np.ndarray, " S"]
    goal: Float64[np.ndarray, " S"]
    factors: Mapping[str, Any]


@dataclass(frozen=True)
class Replayed:
    """A start in a world whose states cannot be set: a moment of an episode, and a later one as the goal.

    Attributes:
        seed: Seed of the episode.
        actions: Actions from the beginning of the episode to the start.
        goal_actions: Actions from the start to the goal.
    """

    seed: int
    actions: Float32[np.ndarray, "K A"]
    goal_actions: Float32[np.ndarray, "G A"]


Start = Placed | Replayed


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        episode, step: Where in the dataset it was taken from; without a dataset the number of its draw, and 0.
        start: How it begins; this also says what its goal is.
    """

    episode: int
    step: int
    start: Start


@dataclass(frozen=True)
class Tasks:
    """Tasks in one world, all of the same kind.

    Attributes:
        env: The world.
        protocol: How they were chosen. What one run held out, another may have seen in training: see `protocol_for`.
        dataset: Fingerprint of the dataset they are from; None for those that the environment itself gave.
        each: The tasks.
        picture: A picture to be reached in all of them, in place of the goals that come with their starts.
        goal_offset: Environment steps from each start to its goal, where that is known.
        budget: Environment steps allowed.
        judgement: Whether it can be told that a goal is reached, and how.
        discarded_solved: Draws thrown away because the start already counted as solved.
        discarded_ended: Draws thrown away because the episode ended before the goal.
    """

    env: str
    protocol: str
    dataset: str | None
    each: tuple[Task, ...]
    picture: UInt8[np.ndarray, "Y X 3"] | None
    goal_offset: int | None
    budget: int
    judgement: Judgement
    discarded_solved: int
    discarded_ended: int

    def __len__(self) -> int:
        return len(self.each)

    @property
    def solvable(self) -> bool:
        """Whether it can be told that a goal is reached."""
        return self.judgement.known

    def begin(self, env: WorldEnv, first: int) -> None:
        """Brings the environments to the starts of as many tasks, from number `first` on."""
        begin(env, [task.start for task in self.each[first : first + env.num_envs]])

    def goals(self, env: WorldEnv) -> UInt8[np.ndarray, "N Y X 3"]:
        """How the goals look in environments that have begun."""
        if self.picture is None:
            return env.render_goal()
        return np.repeat(self.picture[None], env.num_envs, axis=0)

    def protocol_for(self, fingerprint: str, seen: Int64[np.ndarray, " E"], path: Path) -> str:
        """What a report on a run calls the protocol: "held-out" only if the run's training saw none of the episodes.

        It says so, too, of the pairs of CLEAR-LeWM, and how many of their episodes the run's training saw.

        Args:
            fingerprint: Fingerprint of the dataset that the run was trained on.
            seen: The episodes of that dataset that training saw.
            path: Path of the file that the tasks are from.
        """
        if self.protocol != HELD_OUT and not self.protocol.startswith(CLEAR):
            return self.protocol
        said = self.name_in(path)
        if self.dataset != fingerprint:
            return f"{said}; {NOT_KNOWN}"
        episodes = {task.episode for task in self.each}
        both = episodes & set(seen.tolist())
        if both:
            return f"{said}; {len(both)} of {len(episodes)} episodes were seen in training"
        return self.protocol

    def name_in(self, path: Path) -> str:
        """What tasks of a file are called where training may have seen their episodes: never "held-out"."""
        return f"tasks of {path}" if self.protocol == HELD_OUT else self.protocol

    def sha256(self) -> str:
        """Digest of everything that a file of tasks says: equal digests mean equal tasks from the same source."""
        origins = [(task.episode, task.step) for task in self.each]
        drawn = self.env, self.protocol, self.dataset, self.discarded_solved, self.discarded_ended, origins
        digest = hashlib.sha256(json.dumps([*drawn, self.goal_offset, self.budget]).encode())
        placed = [task.start for task in self.each if isinstance(task.start, Placed)]
        for values in (*(one.state for one in placed), *(one.goal for one in placed)):
            digest.update(values.astype("<f8").tobytes())
        if any(one.factors for one in placed):
            digest.update(json.dumps([one.factors for one in placed], sort_keys=True).encode())
        for one in (task.start for task in self.each if isinstance(task.start, Replayed)):
            digest.update(f"{one.seed} {len(one.actions)} {len(one.goal_actions)}".encode())
            digest.update(np.concatenate([one.actions, one.goal_actions]).astype("<f4").tobytes())
        if self.picture is not None:
            digest.update(self.picture.tobytes())
        return digest.hexdigest()


def begin(env: WorldEnv, starts: Sequence[Start]) -> None:
    """Brings each environment to a start, and tells it its goal; the starts are all of one kind."""
    placed = [one for one in starts if isinstance(one, Placed)]
    replayed = [one for one in starts if isinstance(one, Replayed)]
    if placed:
        states, goals = np.stack([one.state for one in placed]), np.stack([one.goal for one in placed])
        env.reset(seed=0, options={"state": states, "goal": goals, "factors": [one.factors for one in placed]})
    if replayed:
        assert isinstance(env, GymnasiumVectorEnv)
        env.replay(
            [one.seed for one in replayed],
            [one.actions for one in replayed],
            [one.goal_actions for one in replayed],
        )
