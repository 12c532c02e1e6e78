"""What is asked of a planner: start, goal and budget, drawn from the episodes of a dataset.

N tasks, S state width.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from lewm.errors import LewmError, unknown
from lewm_data.envs.world import World
from lewm_data.factors import PREFIX, recorded_factors
from lewm_data.store import Dataset

# Named ways of choosing tasks; both take the goal from the same episode as the start, `goal_offset` steps later.
#   held-out  episodes that no training step saw; starts that already count as solved are drawn again, and counted
#   paper     any episode and any start, as arXiv 2603.19312 v3
PROTOCOLS = ("held-out", "paper")


@dataclass(frozen=True)
class Tasks:
    """A list of tasks.

    Attributes:
        episode, step: Where in the dataset each task was taken from.
        start, goal: States of the environment.
        factors: The factors of variation of each task's episode, by name; those that did not vary are left out.
        goal_offset: Environment steps between the two in the dataset.
        budget: Environment steps allowed.
        discarded_solved: Draws thrown away because the start already counted as solved.
    """

    protocol: str
    episode: Int64[np.ndarray, " N"]
    step: Int64[np.ndarray, " N"]
    start: Float64[np.ndarray, "N S"]
    goal: Float64[np.ndarray, "N S"]
    factors: tuple[Mapping[str, Any], ...]
    goal_offset: int
    budget: int
    discarded_solved: int

    def __len__(self) -> int:
        return len(self.episode)

    def sha256(self) -> str:
        """Digest of what an agent is asked to do: equal digests, equal tasks."""
        digest = hashlib.sha256(f"{self.goal_offset} {self.budget}".encode())
        for array in (self.start, self.goal):
            digest.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
        if any(self.factors):
            digest.update(json.dumps(self.factors, sort_keys=True).encode())
        return digest.hexdigest()


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
        LewmError: the protocol is unknown, the dataset has no states, or there are fewer windows than tasks.
    """
    if protocol not in PROTOCOLS:
        raise unknown("protocol", protocol, PROTOCOLS)
    if "state" not in dataset.columns or dataset.column("state").shape[1:] != (world.state_dim,):
        raise LewmError(
            f"{dataset.path}: no column 'state' of {world.state_dim} numbers to start tasks from",
            'Use data made by "lewm collect".',
        )
    episodes = held_out if protocol == "held-out" else np.arange(dataset.num_episodes)
    windows = [
        (episode, step)
        for episode in episodes.tolist()
        for step in range(max(0, int(dataset.lengths[episode]) - goal_offset))
    ]
    order = np.random.default_rng([seed, len(windows)]).permutation(len(windows))
    drawn = np.array(windows, dtype=np.int64).reshape(-1, 2)[order]  # (windows, 2)
    states = dataset.column("state")
    rows = dataset.offsets[drawn[:, 0]] + drawn[:, 1]
    solved = np.zeros(len(drawn), dtype=bool)
    if protocol == "held-out":
        solved = world.solved(states[rows], states[rows + goal_offset])
    usable = np.flatnonzero(~solved)[:count]
    if len(usable) < count:
        raise LewmError(
            f"{dataset.path}: {len(usable)} different {protocol} tasks with the goal {goal_offset} steps ahead, "
            f"{count} asked for",
            "Ask for fewer --episodes, a smaller --goal-offset, or collect more data.",
        )
    discarded = int(solved[: usable[-1] + 1].sum()) if count else 0
    chosen, rows = drawn[usable], rows[usable]
    return Tasks(
        protocol=protocol,
        episode=chosen[:, 0],
        step=chosen[:, 1],
        start=states[rows],
        goal=states[rows + goal_offset],
        factors=_factors(dataset, rows),
        goal_offset=goal_offset,
        budget=budget,
        discarded_solved=discarded,
    )


def _factors(dataset: Dataset, rows: Int64[np.ndarray, " N"]) -> tuple[dict[str, Any], ...]:
    """The factors of variation of the episodes that `rows` belong to."""
    names = [name for name in dataset.columns if name.startswith(PREFIX)]
    return recorded_factors({name: dataset.column(name)[rows] for name in names}, len(rows))
