"""What the rows mean, whatever they are stored in.

Letters: N rows of all episodes, E episodes, R rows of an episode, A action dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int, Shaped, UInt8

from lewm_data.convert.roles import as_actions, column_name
from lewm_data.convert.source import Episode, Source, choose_camera, nothing
from lewm_data.convert.words import actions_said, columns_said
from lewm_data.errors import DataError
from lewm_data.store.habits import MARKS
from lewm_data.store.schema import ACTION, PIXELS, REWARD, STEP, check_episodes

if TYPE_CHECKING:
    import av

LENGTHS, OFFSETS = "ep_len", "ep_offset"
LEFT_OUT = ("id", "render_time", "terminated", "truncated", STEP, "episode_idx", "ep_idx")
FORMAT = "stable-worldmodel"


@runtime_checkable
class Column(Protocol):
    """A column of numbers: an array, or rows that are read when they are asked for."""

    def __len__(self) -> int:
        """N."""

    def __getitem__(self, rows: slice | Int[np.ndarray, " R"], /) -> Shaped[np.ndarray, "R ..."]:
        """These rows; the numbers of several are ascending."""


@dataclass(frozen=True)
class Table:
    """A recording.

    Attributes:
        where: The file or folder, for messages.
        cameras: The names of the columns of pictures.
        columns: The columns of numbers.
        lengths: Rows of each episode (E,).
        offsets: The first row of each episode (E,).
        others: The names of all other columns.
    """

    where: str
    cameras: Sequence[str]
    columns: Mapping[str, Column]
    lengths: Int[np.ndarray, " E"]
    offsets: Int[np.ndarray, " E"]
    others: Sequence[str] = ()


def cameras_in(names: Sequence[str]) -> list[str]:
    """The cameras among the columns of pictures: the recorder's own, where they are there; others show the goal."""
    return [one for one in names if one == PIXELS or one.startswith((f"{PIXELS}.", f"{PIXELS}_"))] or list(names)


def source(
    table: Table,
    camera: str | None,
    size_of: Callable[[str], tuple[int, int]],
    pictures: Callable[[str, int, int, int], Iterator[av.VideoFrame | UInt8[np.ndarray, "Y X 3"]]],
    close: Callable[[], None] = nothing,
) -> Source:
    """The source that a recording is.

    Args:
        table: The recording.
        camera: The camera that the user names, or None.
        size_of: Y and X of a camera's pictures.
        pictures: The pictures of a camera, of an episode's number, its first row and its number of rows.
        close: Ends all reading.

    Raises:
        DataError: There are no actions, the episodes do not cover all rows, or there is no such camera.
    """
    if ACTION not in table.columns:
        raise DataError(
            f"{table.where}: has no actions, only {', '.join(table.columns)}",
            "Record it with actions, or leave it out.",
        )
    rows = len(table.columns[ACTION])
    for name, values in table.columns.items():
        if len(values) != rows:
            raise DataError(f"{table.where}: '{name}' has {len(values)} rows, 'action' {rows}", "Copy it again.")
    check_episodes(table.where, table.lengths, table.offsets, rows)
    chosen, camera_said = choose_camera(table.where, list(table.cameras), camera)
    kept = [name for name in table.columns if name not in (*LEFT_OUT, ACTION)]
    said = [camera_said, actions_said(ACTION, as_actions(table.columns[ACTION][:1]).shape[1])]
    said += columns_said(
        [column_name(name) for name in kept],
        [*(name for name in LEFT_OUT if name in table.columns), *table.others],
    )
    moved = _rewards_follow(table)
    said += _said(table, moved)

    def read(index: int) -> Episode:
        begin, count = int(table.offsets[index]), int(table.lengths[index])
        cut = {column_name(name): table.columns[name][begin : begin + count] for name in kept}
        cut[ACTION] = as_actions(table.columns[ACTION][begin : begin + count])
        if REWARD in cut:
            rewards = cut[REWARD].reshape(count).astype(np.float32)
            cut[REWARD] = rewards[1:] if moved else rewards
        name = f"{table.where}: episode {index}"
        return Episode(name, count, cut, None, lambda: pictures(chosen, index, begin, count))

    return Source(
        format=FORMAT,
        episodes=tuple(f"episode {index}" for index in range(len(table.lengths))),
        read=read,
        assumptions=tuple(said),
        size=size_of(chosen),
        close=close,
    )


def _without_reset(table: Table) -> bool:
    """Whether the release 0.1.1 recorded this, which leaves out the picture of the reset.

    It counts steps from 1 then. Its Lance tables count their rows instead; there, its own columns tell that its World
    recorded them, and the present World has NaN for the last action.
    """
    if STEP in table.columns and int(table.columns[STEP][table.offsets[:1]].reshape(-1)[0]) == 1:
        return True
    return set(MARKS) <= set(table.columns) and bool(np.isfinite(_last_actions(table)).all())


def _last_actions(table: Table) -> Float32[np.ndarray, "E A"]:
    return as_actions(table.columns[ACTION][table.offsets + table.lengths - 1])


def _rewards_follow(table: Table) -> bool:
    """Whether a row's reward is that of the action before it: the first row has none, or its picture is missing."""
    if REWARD not in table.columns:
        return False
    first = table.columns[REWARD][table.offsets]
    return bool(np.isnan(first.astype(np.float64)).all()) or _without_reset(table)


def _said(table: Table, moved: bool) -> Iterator[str]:
    yield "row t is the action taken from picture t"
    if _without_reset(table):
        yield "recorded by stable-worldmodel 0.1.1: the picture of the reset is missing"
        yield "the action in an episode's last row is its first one, which 0.1.1 leaves there, and is not used"
    if moved:
        yield "rewards move up by one row: a row has that of the action before it"
