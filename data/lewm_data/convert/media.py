"""A folder of videos, or of folders of pictures, with a table of actions for each, paired by their names.

    demos/push-1.mp4  demos/push-1.csv       demos/push-1/0001.png ...  demos/push-1.csv
    demos/front/push-1.mp4  demos/wrist/push-1.mp4  demos/actions/push-1.csv

Letters: R rows of a table, T pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64, Shaped

from lewm_data.convert import clock
from lewm_data.convert.roles import Roles, columns_of, roles_of
from lewm_data.convert.sampling import rate_of
from lewm_data.convert.source import Episode, Source, choose_camera
from lewm_data.errors import DataError
from lewm_data.store.schema import ACTION
from lewm_data.tables import TABLES, read_table
from lewm_data.video.pictures import displayed_size, read_image
from lewm_data.video.video import IMAGES, images_in, import_av, natural
from lewm_data.video.video_file import VideoFile, probe

if TYPE_CHECKING:
    import av

VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".gif")
DEEPEST = 3  # folders within the source
BESIDE = ("actions", "action")  # names of a table that lies among the pictures of a sequence
SHOWN = 5  # names in a message


@dataclass
class _Found:
    """Recordings and tables by the name that pairs them."""

    recordings: dict[str, dict[str, Path]] = field(
        default_factory=dict
    )  # name -> camera -> video, or folder of pictures
    tables: dict[str, Path] = field(default_factory=dict)

    def add_recording(self, path: Path, name: str, camera: str) -> None:
        by_camera = self.recordings.setdefault(name, {})
        if camera in by_camera:
            raise DataError(f"{path}: has the name of {by_camera[camera]}, too", "Rename one of them, and its table.")
        by_camera[camera] = path

    def add_table(self, path: Path, name: str) -> None:
        if name in self.tables:
            raise DataError(f"{path}: has the name of {self.tables[name]}, too", "Leave one of them out.")
        self.tables[name] = path


@dataclass(frozen=True)
class _Pair:
    """A video, or a folder of pictures, and its table."""

    pictures: Path
    table: Path


def recognises(path: Path) -> bool:
    """Whether a folder holds videos or pictures."""
    try:
        return path.is_dir() and bool(_search(path).recordings)
    except DataError:  # two things of one name: opening says so
        return True


def opens(path: Path, camera: str | None) -> Source:
    """Opens a folder.

    Raises:
        DataError: No video has a table, several belong to one name, PyAV is not installed, or the first recording
            cannot be read.
    """
    import_av("reading a video")
    found = _search(path)
    chosen, assumptions = _choose(path, found, camera)
    pairs = [_Pair(chosen[name], found.tables[name]) for name in sorted(chosen, key=natural) if name in found.tables]
    alone = sorted(set(found.recordings) - set(found.tables) | set(found.recordings) - set(chosen), key=natural)
    if not pairs:
        raise DataError(
            f"{path}: no actions for any of its {len(found.recordings)} recordings, such as {alone[0]}",
            f"Put a table of the same name beside each, such as {alone[0]}.csv: a row of numbers for each picture.",
        )
    unused = sorted(set(found.tables) - set(found.recordings), key=natural)
    names = list(read_table(pairs[0].table))
    roles = roles_of(names)
    first = _read(pairs[0], names, roles)
    assumptions += roles.in_words()
    assumptions.append(_clock_said(first, roles, pairs[0]))
    if alone:
        assumptions.append(f"left out, without actions: {_some(alone)}")
    if unused:
        assumptions.append(f"left out, without pictures: {_some(unused)}")
    return Source(
        format="recordings with tables of actions",
        episodes=tuple(str(pair.pictures.relative_to(path)) for pair in pairs),
        read=lambda index: _read(pairs[index], names, roles),
        assumptions=tuple(assumptions),
        size=_size_of(pairs[0].pictures),
        fps=None if first.times is None or len(first.times) < 2 else rate_of(first.times),
    )


def _search(path: Path) -> _Found:
    """What a folder holds, to a depth of `DEEPEST`; a folder with pictures in it is one recording."""
    found = _Found()
    waiting = [path]
    for folder in waiting:
        entries = sorted(one for one in folder.iterdir() if not one.name.startswith("."))
        pictures = [one for one in entries if one.suffix.lower() in IMAGES and one.is_file()]
        camera = folder.relative_to(path).as_posix()
        if pictures and folder != path:
            found.add_recording(folder, folder.name, folder.parent.relative_to(path).as_posix())
        for one in entries:
            ending = one.suffix.lower()
            if one.is_dir():
                if len(one.relative_to(path).parts) <= DEEPEST:
                    waiting.append(one)
            elif ending in VIDEOS:
                found.add_recording(one, one.stem, camera)
            elif ending in TABLES:
                found.add_table(one, folder.name if pictures and one.stem in BESIDE else one.stem)
    return found


def _choose(path: Path, found: _Found, camera: str | None) -> tuple[dict[str, Path], list[str]]:
    """The recording of each name, from one camera, and the assumption that this is."""
    if camera is None and all(len(by_camera) == 1 for by_camera in found.recordings.values()):
        return {name: next(iter(by_camera.values())) for name, by_camera in found.recordings.items()}, []
    cameras = sorted({one for by_camera in found.recordings.values() for one in by_camera})
    chosen, said = choose_camera(str(path), cameras, camera)
    return {name: by_camera[chosen] for name, by_camera in found.recordings.items() if chosen in by_camera}, [said]


def _read(pair: _Pair, names: list[str], roles: Roles) -> Episode:
    """The episode of a pair."""
    table = read_table(pair.table)
    if list(table) != names:
        raise DataError(
            f"{pair.table}: has the columns {', '.join(table) or 'without names'}, the first table has "
            f"{', '.join(names)}",
            "Give all tables the same columns, in the same order.",
        )
    columns = columns_of(table, roles)
    seconds = None
    if roles.time is not None:
        seconds, _ = clock.in_seconds(pair.table, table[roles.time][:, 0], roles.time)
    if pair.pictures.is_dir():
        return _of_pictures(pair, columns, seconds)
    video = probe(pair.pictures)
    shown = video.times()  # (T + 1,), with the end
    if seconds is None:
        _check_count(pair, len(columns[ACTION]), len(shown) - 1)
        return Episode(
            str(pair.pictures), len(shown) - 1, columns, shown[:-1], lambda: all_pictures(video, len(shown) - 1)
        )
    at, _ = clock.on_video(seconds, shown[-1])
    inside = (at >= 0) & (at < shown[-1])
    if inside.sum() < 2:
        raise DataError(
            f"{pair.table}: its times are not those of {pair.pictures}, which lasts {shown[-1]:.2f} s",
            "Give times in seconds from the first picture on.",
        )
    cut = {name: values[inside] for name, values in columns.items()}
    return Episode(str(pair.pictures), int(inside.sum()), cut, at[inside], lambda: _shown_at(video, at[inside]))


def _of_pictures(
    pair: _Pair, columns: dict[str, Shaped[np.ndarray, "R ..."]], seconds: Float64[np.ndarray, " R"] | None
) -> Episode:
    files = images_in(pair.pictures)
    _check_count(pair, len(columns[ACTION]), len(files))
    if seconds is not None and len(seconds) < len(files):
        seconds = np.append(seconds, seconds[-1] + (np.median(np.diff(seconds)) if len(seconds) > 1 else 1.0))
    return Episode(str(pair.pictures), len(files), columns, seconds, lambda: map(read_image, files))


def all_pictures(video: VideoFile, count: int) -> Iterator[av.VideoFrame]:
    """All pictures of a video.

    Raises:
        DataError: They are fewer or more than its packets.
    """
    seen = 0
    for picture in video.pictures(0.0):
        seen += 1
        yield picture.image
    if seen != count:
        raise DataError(
            f"{video.path}: {seen} pictures can be decoded, its index has {count}", "Copy or record it again."
        )


def _shown_at(video: VideoFile, times: Float64[np.ndarray, " R"]) -> Iterator[av.VideoFrame]:
    """The picture that is shown at each of the times, which are seconds from the first picture."""
    waiting = 0
    for picture in video.pictures(0.0):
        while waiting < len(times) and times[waiting] < picture.until - video.slack:
            yield picture.image
            waiting += 1
    if waiting < len(times):
        raise DataError(
            f"{video.path}: ends before {times[waiting]:.2f} s, its index goes on to that", "Copy or record it again."
        )


def _check_count(pair: _Pair, rows: int, pictures: int) -> None:
    if rows not in (pictures, pictures - 1):
        raise DataError(
            f"{pair.table}: has {rows} rows, expected {pictures} or {pictures - 1}, as {pair.pictures.name} has "
            f"{pictures} pictures",
            'Where the rows were not recorded with the pictures, give them a column "time" in seconds.',
        )


def _clock_said(first: Episode, roles: Roles, pair: _Pair) -> str:
    if roles.time is None:
        same = "row t is the action taken from picture t on"
        return same if first.times is not None else f"{same}; the pictures have no clock (--fps gives them one)"
    if pair.pictures.is_dir():
        return f"row t belongs to picture t, at the time in column {roles.time}"
    stamps = read_table(pair.table)[roles.time][:, 0]
    seconds, unit = clock.in_seconds(pair.table, stamps, roles.time)
    _, relative = clock.on_video(seconds, probe(pair.pictures).times()[-1])
    zero = "the first row" if relative else "the first picture"
    return (
        f"row t is the action taken from the picture shown at its time: column {roles.time}, in {unit} from {zero} on"
    )


def _size_of(pictures: Path) -> tuple[int, int]:
    return displayed_size(read_image(images_in(pictures)[0]) if pictures.is_dir() else probe(pictures).first)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
