"""The rows of one recorded episode as they are written: chosen, aligned, and their pictures made into frames.

Letters: R recorded rows, K rows that are taken, P rows of a piece, V and U the sides of a frame.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from jaxtyping import Int64, Shaped, UInt8

from lewm_data.convert.appearance import Appearance
from lewm_data.convert.sampling import resampled, rows_at
from lewm_data.convert.source import Episode
from lewm_data.errors import DataError
from lewm_data.store.schema import ACTION, PIXELS, REWARD
from lewm_data.video.fit import fitted, in_words, picture_size

logger = logging.getLogger(__name__)

PIECE = 32  # frames in memory at a time: 5 MB at 224 x 224
CORRECT = "Correct it, or leave the episode out with --skip-damaged."


def chosen_rows(
    episode: Episode, fps: float | None, resample: str
) -> tuple[Int64[np.ndarray, " K"], dict[str, Shaped[np.ndarray, "K ..."]]]:
    """The rows of an episode that are taken, and its columns there; the last one has no action and no reward.

    Args:
        episode: The episode.
        fps: Rows a second; None takes all, and so does any rate where the episode has no clock.
        resample: How the actions between two rows become one, see `resampled`.

    Raises:
        DataError: A column has another number of rows than there are pictures, an action is no number, or more rows a
            second are asked for than were recorded.
    """
    columns = _aligned(episode)
    if fps is None or episode.times is None:
        rows = np.arange(episode.rows)
    else:
        rows = rows_at(episode.times, fps)
        columns = resampled(columns, rows, resample)
    for name, none in ((ACTION, np.nan), (REWARD, 0)):
        if name in columns:
            columns[name] = columns[name].copy()
            columns[name][-1] = none
    return rows, columns


def pieces(
    episode: Episode,
    rows: Int64[np.ndarray, " K"],
    columns: Mapping[str, Shaped[np.ndarray, "K ..."]],
    told: set[tuple[int, int]],
    size: tuple[int, int],
    fit: str,
    appearance: Appearance,
    on_share: Callable[[float], None],
) -> Iterator[dict[str, Shaped[np.ndarray, "P ..."]]]:
    """The rows of an episode with their frames, a few at a time.

    Args:
        episode: The episode.
        rows: The rows that are taken, ascending.
        columns: The columns there.
        told: Y and X of the pictures that the user was told of; others that come are told, and added.
        size: V and U.
        fit: See `fitted`.
        appearance: How the pictures are stored.
        on_share: Called with the share of the episode that is done.

    Raises:
        DataError: The pictures end early, or cannot be decoded.
    """
    waiting: list[UInt8[np.ndarray, "V U 3"]] = []
    first = 0
    for frame in _frames(episode, rows, told, size, fit):
        waiting.append(appearance.corrected(frame))
        end = first + len(waiting)
        if len(waiting) == PIECE or end == len(rows):
            yield {PIXELS: np.stack(waiting), **{name: values[first:end] for name, values in columns.items()}}
            waiting, first = [], end
            on_share(end / len(rows))


def _aligned(episode: Episode) -> dict[str, Shaped[np.ndarray, "R ..."]]:
    """The columns with a row for each picture."""
    if episode.rows < 2:
        raise DataError(f"{episode.name}: has {episode.rows} pictures, expected at least 2", "Leave it out.")
    found = {}
    for name, values in episode.columns.items():
        short = episode.rows - len(values)
        most = 1 if name in (ACTION, REWARD) else 0
        if not 0 <= short <= most:
            expected = f"{episode.rows} or {episode.rows - 1}" if most else str(episode.rows)
            raise DataError(
                f"{episode.name}: {len(values)} rows of '{name}', expected {expected}, as it has {episode.rows} "
                "pictures",
                CORRECT,
            )
        found[name] = np.concatenate([values, values[-1:]]) if short else values
    wrong = ~np.isfinite(found[ACTION][:-1]).all(axis=1)
    if wrong.any():
        raise DataError(f"{episode.name}: action {wrong.argmax()}, counted from 0, is no number", CORRECT)
    return found


def _frames(
    episode: Episode,
    rows: Int64[np.ndarray, " K"],
    told: set[tuple[int, int]],
    size: tuple[int, int],
    fit: str,
) -> Iterator[UInt8[np.ndarray, "V U 3"]]:
    """The frames at `rows`; pictures of another size than those in `told` are told, and added."""
    taken = 0
    for row, picture in enumerate(episode.pictures()):
        if (now := picture_size(picture)) not in told:
            logger.warning("%s: %s", episode.name, in_words(now, size, fit))
            told.add(now)
        while taken < len(rows) and rows[taken] == row:
            yield fitted(picture, size, fit)
            taken += 1
    if taken < len(rows):
        raise DataError(
            f"{episode.name}: ends before its picture {rows[taken]}, counted from 0, of {episode.rows}",
            "Copy or record it again, or leave the episode out with --skip-damaged.",
        )
