"""CLEAR-LeWM's manifests: pairs of rows of a dataset, from the first of which the second is to be reached.

    {
      "schema_version": "clear-lewm-manifest-v1",
      "task": "pusht",                      the world, see `TASKS`
      "protocol": {"name": "moderate", ...} see `Protocol`
      "policy_seed": 42,                    seed of the planner and of the random actions
      "split": "all",                       the episodes that pairs are from: all, train or heldout
      "dataset": {
        "name": "pusht_expert_train.h5",
        "episode_column": "episode_idx",    the column that numbers the episodes, or "ep_idx"
        "fingerprint": {"kind": "metadata-sha256", "value": "8dab..."}     or "file-sha256": of all bytes
      },
      "pairs": [
        {"pair_id": 0, "episode_id": 816, "start_step": 3, "goal_step": 28, "start_row": 96019, "goal_row": 96044, ...},
        ...

Rows and steps count from 0, and both rows are rows of the file: the goal is what the frame of `goal_row` shows. An
`episode_id` is a number in the file's episode column. The dates, statistics and distances that a manifest also has
are not read. What no page of CLEAR-LeWM says is decided here: the rows count, and numbers of episodes and steps have to
agree with them; a pair's rows lie `goal_offset` apart; no two pairs have the same `pair_id`.

Source: github.com/DavidSunok/CLEAR-LeWM, v0.5 and v0.8, whose manifests are the same. Those of v0.9 have another schema
(v2), which begins at rest, and are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lewm.errors import LewmError
from lewm.evaluation.clear.protocol import TASKS, Protocol
from lewm.files import sha256
from lewm.reading import read_json
from lewm_data.envs.world import World
from lewm_data.seeds import SEEDS
from lewm_data.store.dataset import Dataset
from lewm_data.store.metadata import metadata_sha256
from lewm_data.store.schema import STEP, place_of

SCHEMA, FAMILY = "clear-lewm-manifest-v1", "clear-lewm-manifest"
MOST_BYTES = 2**25  # size of a file; a pair has 400 bytes
DAMAGED = "Get the file again from where it was written."

Count = Annotated[int, Field(ge=0, lt=2**53)]


class _Read(BaseModel):
    """Other keys are left unread: they describe the pairs and change nothing."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)


class Pair(_Read):
    """Where a task begins and ends in a dataset."""

    pair_id: Count
    episode_id: Count
    start_step: Count
    goal_step: Count
    start_row: Count
    goal_row: Count


class Fingerprint(_Read):
    """What tells a dataset apart: its outline, see `metadata_sha256`, or all its bytes."""

    kind: Literal["metadata-sha256", "file-sha256"]
    value: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class DatasetStated(_Read):
    """The dataset that a manifest is of."""

    name: str
    episode_column: Literal["episode_idx", "ep_idx"]
    fingerprint: Fingerprint


class TasksStated(BaseModel):
    """What we add to a manifest of our own, so that its tasks are read back as they were."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    protocol: Literal["held-out", "unsolved", "paper"]
    discarded_solved: Count
    discarded_ended: Count
    sha256: str


class Content(_Read):
    """What is read of a manifest."""

    schema_version: Literal["clear-lewm-manifest-v1"]
    task: Literal["pusht", "cube", "reacher", "tworoom"]
    protocol: Protocol
    policy_seed: Annotated[int, Field(ge=0, lt=SEEDS)]
    split: Literal["all", "train", "heldout"]
    dataset: DatasetStated
    pairs: Annotated[tuple[Pair, ...], Field(min_length=1, strict=False)]
    lewm: TasksStated | None = None


@dataclass(frozen=True)
class Manifest:
    """A manifest that was read.

    Attributes:
        path: Its file.
        sha256: Digest of the file.
        content: What it says.
        protocol: Its part `protocol`, as it stands there.
    """

    path: Path
    sha256: str
    content: Content
    protocol: dict[str, Any]


def read_if_manifest(path: Path) -> Manifest | None:
    """The manifest in a file; None where the file is JSON of another kind.

    Raises:
        LewmError: It cannot be read, is no JSON, is a manifest of another version, or has wrong values.
    """
    remedy = 'Give --tasks a file that "lewm plan --save-tasks" wrote, or a manifest of CLEAR-LeWM.'
    found = read_json(path, remedy, MOST_BYTES)
    schema = found.get("schema_version") if isinstance(found, dict) else None
    if not isinstance(schema, str) or not schema.startswith(FAMILY):
        return None
    if schema != SCHEMA:
        raise LewmError(
            f"{path}: schema {schema!r:.80}, this version reads {SCHEMA}",
            "Take the manifest of CLEAR-LeWM v0.8, or of an earlier version.",
        )
    try:
        content = Content.model_validate(found)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise LewmError(f"{path}: {where}: {fault['msg']}", DAMAGED) from error
    seen: set[int] = set()
    for number, pair in enumerate(content.pairs):
        if pair.pair_id in seen:
            raise LewmError(f"{path}: pairs.{number}.pair_id: {pair.pair_id} is there twice", DAMAGED)
        seen.add(pair.pair_id)
    return Manifest(path, sha256(path), content, found["protocol"])


def check_world(manifest: Manifest, world: World) -> None:
    """Raises unless the manifest's pairs are of a world.

    Raises:
        LewmError: They are of another.
    """
    if TASKS.get(world.name) != manifest.content.task:
        raise LewmError(
            f"{manifest.path}: tasks in {manifest.content.task!r}, the run was trained in {world.name!r}",
            "Give --run a run of that world, or --tasks tasks in this one.",
        )


def check_dataset(manifest: Manifest, dataset: Dataset) -> None:
    """Raises unless the manifest is of this dataset, and its pairs are windows of the dataset's episodes.

    Raises:
        LewmError: It is of another dataset, or a pair's rows, steps and episode do not belong together.
        DataError: The dataset was not closed.
    """
    stated, path = manifest.content.dataset, manifest.path
    kind, value = stated.fingerprint.kind, stated.fingerprint.value
    found = metadata_sha256(dataset.path) if kind == "metadata-sha256" else sha256(dataset.path)
    if found != value:
        raise LewmError(
            f"{path}: is of {stated.name!r:.80} with the {kind} {value[:12]}…, {dataset.path} has {found[:12]}…",
            "Give --data the dataset that the manifest is of; a file that was packed or converted anew is another.",
        )
    episodes = episode_numbers(dataset, stated.episode_column)
    steps = dataset.column(STEP) if STEP in dataset.columns else None
    for number, pair in enumerate(manifest.content.pairs):
        fault = _fault(pair, manifest.content.protocol.goal_offset, dataset, episodes, steps)
        if fault is not None:
            raise LewmError(f"{path}: pairs.{number}: {fault}", DAMAGED)


def episode_numbers(dataset: Dataset, column: str) -> np.ndarray:
    """The number of each row's episode (N,), from the column that holds it.

    Raises:
        LewmError: The dataset has no such column.
    """
    if column not in dataset.columns or dataset.column(column).ndim != 1:
        raise LewmError(
            f"{dataset.path}: no column '{column}' that numbers the episodes, as CLEAR-LeWM does",
            'Use data made by "lewm collect" or "lewm data convert".',
        )
    return dataset.column(column)


def _fault(
    pair: Pair, goal_offset: int, dataset: Dataset, episodes: np.ndarray, steps: np.ndarray | None
) -> str | None:
    """What is wrong with a pair."""
    if max(pair.start_row, pair.goal_row) >= dataset.num_steps:
        return f"row {max(pair.start_row, pair.goal_row)}, the dataset has {dataset.num_steps}"
    if not pair.goal_row - pair.start_row == pair.goal_step - pair.start_step == goal_offset:
        return f"start and goal are not {goal_offset} rows and steps apart, as protocol.goal_offset says"
    (episode, step), (ends_in, _) = (
        place_of(row, dataset.lengths, dataset.offsets) for row in (pair.start_row, pair.goal_row)
    )
    if episode != ends_in:
        return f"rows {pair.start_row} and {pair.goal_row} are of different episodes"
    if int(episodes[pair.start_row]) != pair.episode_id:
        return f"row {pair.start_row} is of episode {int(episodes[pair.start_row])}, not {pair.episode_id}"
    counted = step if steps is None else int(steps[pair.start_row])
    if not pair.start_step == counted == step:
        return f"row {pair.start_row} is step {step} of its episode, not {pair.start_step}"
    return None
