"""Tasks from the pairs of a manifest, and a manifest of tasks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from lewm.datasets import fingerprint_of
from lewm.errors import LewmError
from lewm.evaluation.clear.manifest import SCHEMA, Manifest, check_dataset, check_world, episode_numbers
from lewm.evaluation.clear.protocol import MODERATE, RELEASED, TASKS, Protocol
from lewm.evaluation.clear.rules import difficulty, reached
from lewm.evaluation.from_dataset import placed, stated_states
from lewm.evaluation.tasks import CLEAR, HELD_OUT, PAPER, Placed, Task, Tasks
from lewm.files import write_text
from lewm_data.envs.judgement import BY_STATES
from lewm_data.envs.registry import world
from lewm_data.envs.world import World
from lewm_data.store.dataset import Dataset
from lewm_data.store.metadata import metadata_sha256
from lewm_data.store.schema import EPISODE, place_of

COLUMNS = (EPISODE, "ep_idx")  # that may number the episodes of rows


def tasks_of(manifest: Manifest, dataset: Dataset, place: World) -> Tasks:
    """The tasks that a manifest lists, in its order.

    Those of CLEAR-LeWM have the protocol "CLEAR-LeWM" with its name. How many draws were thrown away is not in them.

    Raises:
        LewmError: The manifest is of another world or dataset, a pair's numbers do not belong together, or the tasks
            of a manifest of ours were changed.
        DataError: The dataset is damaged, or was not closed.
    """
    check_world(manifest, place)
    check_dataset(manifest, dataset)
    content = manifest.content
    rows = np.array([pair.start_row for pair in content.pairs])
    offset = content.protocol.goal_offset
    starts = placed(dataset, stated_states(dataset, place), rows, offset)
    places = [place_of(row, dataset.lengths, dataset.offsets) for row in rows.tolist()]
    tasks = Tasks(
        env=place.name,
        protocol=f"{CLEAR} {content.protocol.name}",
        dataset=fingerprint_of(dataset),
        each=tuple(Task(*where, start) for where, start in zip(places, starts, strict=True)),
        picture=None,
        goal_offset=offset,
        budget=content.protocol.eval_budget,
        judgement=BY_STATES,
        discarded_solved=0,
        discarded_ended=0,
    )
    ours = content.lewm
    if ours is None:
        return tasks
    solved, ended = ours.discarded_solved, ours.discarded_ended
    tasks = replace(tasks, protocol=ours.protocol, discarded_solved=solved, discarded_ended=ended)
    if tasks.sha256() != ours.sha256:
        raise LewmError(
            f"{manifest.path}: was changed after it was written: its tasks have another sha256",
            "Get the file again from where it was written.",
        )
    return tasks


def write_manifest(
    path: Path, tasks: Tasks, dataset: Dataset, seed: int, share: float, unseen: Int64[np.ndarray, " E"]
) -> None:
    """Writes tasks as a manifest of CLEAR-LeWM.

    Its protocol has the success rules of "moderate", which are our own rules, and a name of ours, because the pairs
    were chosen in another way than those of the manifests that CLEAR-LeWM publishes.

    Args:
        seed: Seed of the choice, and of the plans.
        share: The share of episodes that the run held out.
        unseen: These episodes; none where it is not known which they are.

    Raises:
        LewmError: CLEAR-LeWM has no such world, the tasks are not from this dataset or another run held them out, or
            the dataset's episodes have no numbers.
        DataError: The dataset is damaged, or was not closed.
    """
    _check_has_manifest(path, tasks, dataset, unseen)
    task, protocol = TASKS[tasks.env], _protocol_of(tasks, share)
    column = next((name for name in COLUMNS if name in dataset.columns), EPISODE)
    numbers = episode_numbers(dataset, column)
    rows = np.array([dataset.offsets[one.episode] + one.step for one in tasks.each])
    states = stated_states(dataset, world(tasks.env))
    content = {
        "schema_version": SCHEMA,
        "created_utc": datetime.now(UTC).isoformat(),
        "task": task,
        "protocol": protocol.model_dump(mode="json"),
        "seed": seed,
        "policy_seed": seed,
        "split": protocol.split,
        "dataset": {
            "name": dataset.path.name,
            "episode_column": column,
            "fingerprint": {"kind": "metadata-sha256", "value": metadata_sha256(dataset.path)},
        },
        "statistics": {
            **_statistics(task, protocol, dataset, states, unseen),
            "num_eval": len(tasks),
            "unique_episodes": len({one.episode for one in tasks.each}),
        },
        "pairs": _pairs(task, protocol, tasks.each, rows, numbers),
        "lewm": {
            "protocol": tasks.protocol,
            "discarded_solved": tasks.discarded_solved,
            "discarded_ended": tasks.discarded_ended,
            "sha256": tasks.sha256(),
        },
    }
    write_text(path, json.dumps(content, indent=2, sort_keys=True) + "\n")


def _check_has_manifest(path: Path, tasks: Tasks, dataset: Dataset, unseen: Int64[np.ndarray, " E"]) -> None:
    """Raises where a manifest cannot list tasks, or would say what is not so; see `write_manifest`."""
    if tasks.env not in TASKS:
        raise LewmError(
            f"{tasks.env}: is no task of CLEAR-LeWM, which has {', '.join(TASKS)}",
            "Leave out --tasks-form, which writes the tasks in our own form.",
        )
    if tasks.protocol.startswith(CLEAR):
        raise LewmError(f"{path}: the tasks are from a manifest of CLEAR-LeWM already", "Copy that manifest.")
    if tasks.dataset is None or tasks.goal_offset is None or tasks.dataset != fingerprint_of(dataset):
        raise LewmError(
            f"{path}: CLEAR-LeWM's manifests list rows of a dataset, and these tasks are not from {dataset.path}",
            "Draw tasks from the dataset, or leave out --tasks-form.",
        )
    if tasks.protocol == HELD_OUT and not {one.episode for one in tasks.each} <= set(unseen.tolist()):
        raise LewmError(
            f"{path}: the manifest would say that this run held out the tasks, and another run held them out",
            "Leave out --tasks, which draws tasks that this run held out, or leave out --tasks-form.",
        )


def _protocol_of(tasks: Tasks, share: float) -> Protocol:
    return MODERATE.model_copy(
        update={
            "name": f"lewm-{tasks.protocol}",
            "description": f"Drawn by lewm with its protocol {tasks.protocol}.",
            "sampling": "row-uniform",
            "split": "heldout" if tasks.protocol == HELD_OUT else "all",
            "heldout_fraction": share if tasks.protocol == HELD_OUT else 0.0,
            "exclude_initial_success": tasks.protocol != PAPER,
            "goal_offset": tasks.goal_offset,
            "eval_budget": tasks.budget,
            "tworoom_crossroom_only": False,
            "tworoom_source_window_clean": False,
        }
    )


def wall_axes(starts: Sequence[Placed]) -> Int64[np.ndarray, " N"]:
    """The coordinate that the wall divides in each start of Two-Room; 0 where the factor did not vary."""
    return np.array([int(start.factors.get("wall.axis", 0)) for start in starts], dtype=np.int64)


def placed_starts(tasks: Tasks) -> list[Placed]:
    """The starts of tasks in a world whose states can be set."""
    return [one.start for one in tasks.each if isinstance(one.start, Placed)]


def _statistics(
    task: str,
    protocol: Protocol,
    dataset: Dataset,
    states: Float64[np.ndarray, "N S"],
    unseen: Int64[np.ndarray, " E"],
) -> dict[str, Any]:
    """What CLEAR-LeWM states of all pairs that the dataset has, and of those in the split that was drawn from.

    Success at the start is judged episode by episode: all pairs at once would take several times the states' memory.
    """
    offset = protocol.goal_offset
    split = unseen if protocol.split == "heldout" else np.arange(dataset.num_episodes)
    count = np.maximum(dataset.lengths - offset, 0)  # of the pairs of each episode
    solved = np.zeros(2, dtype=np.int64)
    for episode in split[count[split] > 0].tolist():
        first, end = int(dataset.offsets[episode]), int(dataset.offsets[episode] + count[episode])
        begin, goals = states[first:end], states[first + offset : end + offset]
        axes = np.zeros(len(begin), dtype=np.int64)  # neither of the two rules looks at walls
        solved += [int(reached(task, rule, begin, goals, axes).sum()) for rule in (protocol, RELEASED)]
    pairs = int(count[split].sum())
    moderate, released = (100 * solved / max(1, pairs)).tolist()
    return {
        "valid_pairs_all_splits": int(count.sum()),
        "pairs_in_selected_split": pairs,
        "initial_success_rate_percent": moderate,
        "upstream_initial_success_rate_percent": released,
    }


def _pairs(
    task: str, protocol: Protocol, each: Sequence[Task], rows: Int64[np.ndarray, " N"], numbers: np.ndarray
) -> list[dict[str, Any]]:
    starts = [one.start for one in each if isinstance(one.start, Placed)]
    begin, end = (np.stack([getattr(start, name) for start in starts]) for name in ("state", "goal"))
    axes, offset = wall_axes(starts), protocol.goal_offset
    far = difficulty(task, protocol, begin, end).tolist()
    solved, upstream = (reached(task, rule, begin, end, axes).tolist() for rule in (protocol, RELEASED))
    return [
        {
            "pair_id": number,
            "episode_id": int(numbers[row]),
            "start_step": one.step,
            "goal_step": one.step + offset,
            "start_row": row,
            "goal_row": row + offset,
            "difficulty": far[number],
            "initial_success": solved[number],
            "upstream_initial_success": upstream[number],
        }
        for number, (one, row) in enumerate(zip(each, rows.tolist(), strict=True))
    ]
