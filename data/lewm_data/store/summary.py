"""What is in a dataset, in numbers. Letters: N steps of all episodes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lewm_data.store.dataset import Dataset
from lewm_data.store.left_out import LeftOut
from lewm_data.store.schema import PIXELS, Column
from lewm_data.store.source_names import ACTION_NAMES, SOURCES

PIECE_BYTES = 16 << 20  # of a column, in memory at a time


@dataclass(frozen=True)
class ColumnSummary:
    """A column in numbers.

    Attributes:
        name: Its name.
        dtype: The type of its numbers.
        shape: The shape of a row.
        least: The least of its numbers; None for frames, and where none is finite.
        greatest: The greatest of its numbers, likewise.
        missing: The share of its numbers that are NaN, such as the last action of each episode.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    least: float | None
    greatest: float | None
    missing: float


@dataclass(frozen=True)
class Summary:
    """A dataset in numbers.

    Attributes:
        path: The file.
        size: Its size in bytes.
        episodes: Number of episodes.
        steps: Number of rows of all episodes.
        shortest: Rows of the shortest episode.
        median: Rows of the middle episode.
        longest: Rows of the longest episode.
        fps: Rows a second; None where the file does not say it.
        frame_size: Y and X of the frames.
        hashes: Whether it has hashes, with which it can be verified.
        interrupted: Whether its writer was interrupted, or is at work.
        columns: Its columns.
        sources: The recording that each episode is from; None where the file does not say it.
        action_names: The names of the numbers of an action; none where the file does not say them.
        left_out: Episodes of the source that its conversion could not read.
        attributes: Its other attributes.
    """

    path: str
    size: int
    episodes: int
    steps: int
    shortest: int
    median: int
    longest: int
    fps: float | None
    frame_size: tuple[int, int]
    hashes: bool
    interrupted: bool
    columns: tuple[ColumnSummary, ...]
    sources: tuple[str | None, ...]
    action_names: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    attributes: dict[str, Any]

    @property
    def seconds(self) -> float | None:
        """How long the recordings last together; None where the rate is not known."""
        return None if self.fps is None else (self.steps - self.episodes) / self.fps


def summarise(dataset: Dataset) -> Summary:
    """Reads all columns but the frames, and says what is in a dataset.

    Raises:
        DataError: A column cannot be read.
    """
    return Summary(
        path=str(dataset.path),
        size=Path(dataset.path).stat().st_size,
        episodes=dataset.num_episodes,
        steps=dataset.num_steps,
        shortest=int(dataset.lengths.min()),
        median=int(np.median(dataset.lengths)),
        longest=int(dataset.lengths.max()),
        fps=dataset.fps,
        frame_size=dataset.frame_size,
        hashes=dataset.has_hashes,
        interrupted=dataset.interrupted,
        columns=tuple(_column(dataset, column) for column in dataset.schema),
        sources=tuple(map(dataset.source_of, range(dataset.num_episodes))),
        action_names=dataset.action_names,
        left_out=dataset.left_out,
        attributes={name: one for name, one in dataset.attributes.items() if name not in (SOURCES, ACTION_NAMES)},
    )


def _column(dataset: Dataset, column: Column) -> ColumnSummary:
    if column.name == PIXELS:
        return ColumnSummary(column.name, str(column.dtype), column.shape, None, None, 0.0)
    least, greatest, missing = math.inf, -math.inf, 0
    together = max(1, PIECE_BYTES // max(column.row_bytes * int(dataset.lengths.max()), 1))
    for first in range(0, dataset.num_episodes, together):
        episodes = np.arange(first, min(first + together, dataset.num_episodes))
        values = dataset.column(column.name, episodes).astype(np.float64)
        finite = values[np.isfinite(values)]
        missing += int(np.isnan(values).sum())
        if finite.size:
            least, greatest = min(least, float(finite.min())), max(greatest, float(finite.max()))
    known = least <= greatest
    share = missing / max(dataset.num_steps * math.prod(column.shape), 1)
    return ColumnSummary(
        column.name, str(column.dtype), column.shape, least if known else None, greatest if known else None, share
    )
