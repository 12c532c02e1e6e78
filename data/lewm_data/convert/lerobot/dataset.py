"""Opening a LeRobot dataset, and reading its episodes.

Letters: R rows of an episode.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64, Shaped

from lewm_data.convert.lerobot.index import INFO, Index, Place, read_index
from lewm_data.convert.roles import as_actions, column_name, joined
from lewm_data.convert.sampling import rate_of
from lewm_data.convert.source import Episode, Source, choose_camera
from lewm_data.convert.words import actions_said, columns_said, some
from lewm_data.errors import DataError
from lewm_data.parquet import numbers_of, read_rows, values_of
from lewm_data.store.schema import ACTION, REWARD
from lewm_data.video.fit import not_square
from lewm_data.video.pictures import decode_image, displayed_size
from lewm_data.video.video import import_av
from lewm_data.video.video_file import probe

if TYPE_CHECKING:
    import av

EPISODE, TIMES = "episode_index", "timestamp"
COUNTS = (EPISODE, TIMES, "frame_index", "index", "task_index", "next.done", "next.success")
NEXT_REWARD = "next.reward"
NEAR = 0.75  # of a row: how far from its time a picture may be; the next one is a whole row away
AGAIN = "Copy the whole dataset again."


def recognises(path: Path) -> bool:
    """Whether this is a dataset's folder."""
    return (path / INFO).is_file() and (path / "data").is_dir()


def opens(path: Path, camera: str | None) -> Source:
    """Opens a dataset.

    Raises:
        DataError: It has no actions or no camera, is of another version, or damaged.
    """
    import_av("reading a video")
    index = read_index(path)
    features = index.features
    cameras = sorted(name for name, one in features.items() if one.is_camera and not one.depth)
    if not cameras:
        raise DataError(f"{path}: has no camera, only {some(sorted(features))}", "Take a dataset with pictures.")
    chosen, camera_said = choose_camera(str(path), cameras, camera)
    actions = [ACTION] if ACTION in features else sorted(name for name in features if name.startswith(f"{ACTION}."))
    if not actions:
        raise DataError(f"{path}: has no actions, only {some(sorted(features))}", "Take a dataset with actions.")
    others = [name for name in features if name not in cameras and name not in actions and name not in COUNTS]
    kept = [name for name in others if features[name].is_numeric]
    left_out = [name for name in features if name in COUNTS[3:] or (name in others and name not in kept)]
    reader = _Reader(index, chosen, actions, kept)
    first = reader.columns(index.places[0])
    names = [part for name in actions for part in features[name].names]
    width = first[ACTION].shape[1]
    said = [camera_said, actions_said(some(names or actions), width, "in the robot's units")]
    said += columns_said([_column(name) for name in kept], [*left_out, "the words of the tasks"])
    said.append("row t is the action sent after picture t was taken")
    picture = reader.first_picture(index.places[0])
    said += not_square(picture)
    return Source(
        format=f"LeRobot {index.version}",
        episodes=tuple(f"episode {place.number}" for place in index.places),
        read=lambda number: reader.episode(index.places[number]),
        assumptions=tuple(said),
        size=displayed_size(picture),
        fps=index.fps,
        fps_of=INFO,
        action_names=next((tuple(found) for found in (names, actions) if len(found) == width), ()),
        attributes={} if index.robot is None else {"robot": index.robot},
    )


class _Reader:
    """Reads episodes; the numbers of the file that was read last stay in memory, for it may hold more episodes."""

    def __init__(self, index: Index, camera: str, actions: list[str], kept: list[str]) -> None:
        self.index, self.camera, self.actions, self.kept = index, camera, actions, kept
        self._table: tuple[Path, Any] | None = None

    def columns(self, place: Place) -> dict[str, Shaped[np.ndarray, "R ..."]]:
        """The numbers of an episode."""
        rows = self._rows(place)
        read = {name: numbers_of(place.table, rows, name) for name in (*self.actions, *self.kept)}
        columns = {_column(name): read[name] for name in self.kept}
        columns[ACTION] = joined(str(place.table), {name: as_actions(read[name]) for name in self.actions})
        if REWARD in columns:
            columns[REWARD] = columns[REWARD].reshape(len(rows)).astype(np.float32)
        return columns

    def episode(self, place: Place) -> Episode:
        """An episode."""
        columns = self.columns(place)
        rows = self._rows(place)
        times = numbers_of(place.table, rows, TIMES).reshape(-1).astype(np.float64)
        if len(times) != place.length:
            raise DataError(
                f"{place.table}: has {len(times)} rows of episode {place.number}, expected {place.length}", AGAIN
            )
        if not (np.isfinite(times).all() and (np.diff(times) > 0).all()):
            raise DataError(f"{place.table}: the times of episode {place.number} do not ascend", AGAIN)
        name = f"{self.index.path}: episode {place.number}"
        return Episode(name, len(times), columns, times, lambda: self._pictures(place, times))

    def first_picture(self, place: Place) -> av.VideoFrame:
        """The first picture of the episode, or of the video that holds it."""
        return probe(place.videos[self.camera][0]).first if self.camera in place.videos else next(self._images(place))

    def _rows(self, place: Place) -> Any:  # noqa: ANN401
        """The rows of an episode without its pictures."""
        import pyarrow.compute  # read_rows says so where it is missing

        if self._table is None or self._table[0] != place.table:
            self._table = place.table, read_rows(place.table, [*self.actions, *self.kept, TIMES, EPISODE])
        table = self._table[1]
        return table.filter(pyarrow.compute.equal(table.column(EPISODE), place.number))

    def _pictures(self, place: Place, times: Float64[np.ndarray, " R"]) -> Iterator[av.VideoFrame]:
        if self.camera not in place.videos:
            yield from self._images(place)
            return
        video, begin = place.videos[self.camera]
        step = 1 / (rate_of(times) if len(times) > 1 else self.index.fps)
        file = probe(video)
        if self.index.version.startswith("v2."):  # a video holds one episode
            shown = len(file.times()) - 1
            if shown != len(times):
                raise DataError(f"{video}: has {shown} pictures, its table {len(times)} rows", AGAIN)
        wanted = iter(begin + times)
        time = next(wanted, None)
        for picture in file.pictures(max(begin - step / 2, 0.0)):
            while time is not None and time + step / 2 < picture.until:
                if abs(picture.time - time) > NEAR * step:
                    raise DataError(f"{video}: has no picture at {time:.3f} s", AGAIN)
                yield picture.image
                time = next(wanted, None)
            if time is None:
                return
        raise DataError(f"{video}: ends before {time:.3f} s", AGAIN)

    def _images(self, place: Place) -> Iterator[av.VideoFrame]:
        for row, stored in enumerate(values_of(place.table, self.camera, (EPISODE, place.number))):
            content = stored.get("bytes") if isinstance(stored, dict) else stored
            where = f"{place.table}: row {row} of episode {place.number} of '{self.camera}'"
            if not isinstance(content, bytes):
                raise DataError(f"{where}: holds no picture, but names a file", "Embed the pictures with LeRobot.")
            yield decode_image(content, where)


def _column(name: str) -> str:
    return REWARD if name == NEXT_REWARD else column_name(name)
