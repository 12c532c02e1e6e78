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

from lewm_data.convert.clock import Clock, clock_of
from lewm_data.convert.first_line import FirstLine
from lewm_data.convert.roles import Roles, check_counters, columns_of, roles_of
from lewm_data.convert.sampling import FASTER, SLACK, rate_of
from lewm_data.convert.source import Episode, Source, choose_camera
from lewm_data.convert.words import some
from lewm_data.errors import DataError
from lewm_data.store.schema import ACTION
from lewm_data.tables import TABLES, Table, read_table
from lewm_data.video.fit import picture_size
from lewm_data.video.pictures import read_image
from lewm_data.video.video import IMAGES, images_in, import_av, natural
from lewm_data.video.video_file import VideoFile, probe

if TYPE_CHECKING:
    import av

VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".gif")
DEEPEST = 3  # folders within the source
BESIDE = ("actions", "action")  # names of a table that lies among the pictures of a sequence


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
            raise DataError(f"{path}: has the same name as {by_camera[camera]}", "Rename one of them, and its table.")
        by_camera[camera] = path

    def add_table(self, path: Path, name: str) -> None:
        if name in self.tables:
            raise DataError(f"{path}: has the same name as {self.tables[name]}", "Leave one of them out.")
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
        if path in found.recordings[alone[0]].values():
            raise DataError(
                f"{path}: has pictures, and no table of actions among them",
                f"Put it there, as {path.resolve().name}/{BESIDE[0]}.csv, a row of numbers for each picture; or "
                "convert the folder in which the pictures' folder and the table lie.",
            )
        raise DataError(
            f"{path}: no actions for any of its {len(found.recordings)} recordings, such as {alone[0]}",
            f"Put a table of the same name beside each, such as {alone[0]}.csv: a row of numbers for each picture.",
        )
    unused = sorted(set(found.tables) - set(found.recordings), key=natural)
    reader, first = _first_readable(pairs)
    assumptions += [*reader.roles.in_words(), *reader.first_line.in_words()]
    assumptions.append(_clock_said(first, reader))
    assumptions += _repeated(first, reader.example)
    if alone:
        assumptions.append(f"left out, without actions: {some(alone)}")
    if unused:
        assumptions.append(f"left out, without pictures: {some(unused)}")
    return Source(
        format="recordings with tables of actions",
        episodes=tuple(_named(path, pair.pictures) for pair in pairs),
        read=lambda index: reader.read(pairs[index]),
        assumptions=tuple(assumptions),
        size=picture_size(_first_picture(reader.example.pictures)),
        picture=lambda index: _first_picture(pairs[index].pictures),
        action_names=_names_of_numbers(reader.roles.actions, first.columns[ACTION].shape[1]),
        fps=None if first.times is None or len(first.times) < 2 else rate_of(first.times),
    )


def _first_readable(pairs: list[_Pair]) -> tuple[_Reader, Episode]:
    """A reader that understands all tables as the first that can be read, and its episode."""
    error: DataError | None = None
    for pair in pairs:
        try:
            table = read_table(pair.table)
            reader = _Reader.of(pair, table)
            return reader, reader.episode(pair, table)
        except DataError as one:
            error = error or one
    assert error is not None
    raise error


def _search(path: Path) -> _Found:
    """What a folder holds, to a depth of `DEEPEST`; a folder with pictures in it is one recording.

    So is the source itself, if it has pictures and there is no other recording in it.
    """
    found = _Found()
    waiting, seen = [path], {path.resolve()}
    for folder in waiting:
        entries = sorted(one for one in folder.iterdir() if not one.name.startswith("."))
        pictures = [one for one in entries if one.suffix.lower() in IMAGES and one.is_file()]
        camera = folder.relative_to(path).as_posix()
        if pictures and folder != path:
            found.add_recording(folder, folder.name, folder.parent.relative_to(path).as_posix())
        for one in entries:
            ending = one.suffix.lower()
            if one.is_dir():
                if len(one.relative_to(path).parts) <= DEEPEST and one.resolve() not in seen:
                    seen.add(one.resolve())
                    waiting.append(one)
            elif ending in VIDEOS:
                found.add_recording(one, one.stem, camera)
            elif ending in TABLES:
                found.add_table(one, folder.resolve().name if pictures and one.stem in BESIDE else one.stem)
    if not found.recordings and any(one.suffix.lower() in IMAGES for one in path.iterdir()):
        found.add_recording(path, path.resolve().name, ".")
    return found


def _named(path: Path, pictures: Path) -> str:
    """What a recording of a folder is called."""
    return path.resolve().name if pictures == path else str(pictures.relative_to(path))


def _choose(path: Path, found: _Found, camera: str | None) -> tuple[dict[str, Path], list[str]]:
    """The recording of each name, from one camera, and the assumption that this is."""
    if camera is None and all(len(by_camera) == 1 for by_camera in found.recordings.values()):
        folders = sorted({camera for by_camera in found.recordings.values() for camera in by_camera})
        together = [f"recordings of the folders {some(folders)} together"] if len(folders) > 1 else []
        return {name: next(iter(by_camera.values())) for name, by_camera in found.recordings.items()}, together
    cameras = sorted({one for by_camera in found.recordings.values() for one in by_camera})
    chosen, said = choose_camera(str(path), cameras, camera)
    return {name: by_camera[chosen] for name, by_camera in found.recordings.items() if chosen in by_camera}, [said]


@dataclass(frozen=True)
class _Reader:
    """Reads recordings, and understands the table of each, of which it uses `names`, as that of `example`."""

    example: _Pair
    names: list[str]
    roles: Roles
    clock: Clock | None
    first_line: FirstLine

    @classmethod
    def of(cls, pair: _Pair, table: Table) -> _Reader:
        """A reader for tables like that of a pair."""
        first_line = FirstLine.of(pair.table, table, lambda: _count(pair.pictures))
        roles = roles_of(str(pair.table), table)
        clock = None
        if roles.time is not None:
            duration = None if pair.pictures.is_dir() else float(probe(pair.pictures).times()[-1])
            clock = clock_of(pair.table, roles.time, table.columns[roles.time][:, 0], duration)
        names = [name for name in table.columns if name not in roles.left_out]
        return cls(pair, names, roles, clock, first_line)

    def read(self, pair: _Pair) -> Episode:
        """The episode of a pair."""
        return self.episode(pair, read_table(pair.table))

    def episode(self, pair: _Pair, table: Table) -> Episode:
        """The episode of a pair whose table has been read."""
        names = [name for name in table.columns if name not in self.roles.left_out]
        lost = next((name for name in self.names if name in table.left_out), None)
        if lost is not None:
            raise DataError(f"{pair.table}: column '{lost}' holds text, or too many numbers", "Correct it.")
        if names != self.names:
            raise DataError(
                f"{pair.table}: has the columns {', '.join(names) or 'without names'}, the first table has "
                f"{', '.join(self.names)}",
                "Give all tables the same columns, in the same order.",
            )
        own = FirstLine.of(pair.table, table, lambda: _count(pair.pictures), self.first_line)
        table = own.applied(table)
        check_counters(str(pair.table), table.columns)
        columns = columns_of(table.columns, self.roles)
        seconds = None if self.clock is None else self.clock.seconds(pair.table, table.columns[self.clock.column][:, 0])
        if pair.pictures.is_dir():
            return _of_pictures(pair, columns, seconds)
        video = probe(pair.pictures)
        shown = video.times()  # (T + 1,), with the end
        if seconds is None:
            count = len(shown) - 1
            _check_count(pair, len(columns[ACTION]), count)
            return Episode(str(pair.pictures), count, columns, shown[:-1], lambda: all_pictures(video, count))
        early = SLACK * (shown[1] - shown[0])
        inside = (seconds >= -early) & (seconds < shown[-1])
        if inside.sum() < max(2, len(seconds) / 2):
            raise DataError(
                f"{pair.table}: {inside.sum()} of its {len(seconds)} rows lie in {pair.pictures.name}, which lasts "
                f"{shown[-1]:.2f} s",
                "Give times in seconds from the first picture on.",
            )
        at = seconds[inside]
        cut = {name: values[inside] for name, values in columns.items()}
        return Episode(str(pair.pictures), len(at), cut, at, lambda: _shown_at(video, at))


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
        rounded = SLACK * (picture.until - picture.time)  # times are written with few digits
        while waiting < len(times) and times[waiting] < picture.until - rounded:
            yield picture.image
            waiting += 1
        last = picture
    while waiting < len(times) and times[waiting] < last.until:
        yield last.image
        waiting += 1
    if waiting < len(times):
        raise DataError(
            f"{video.path}: ends before {times[waiting]:.2f} s, its index goes on to that", "Copy or record it again."
        )


def _count(pictures: Path) -> int:
    """The pictures of a video or a folder."""
    return len(images_in(pictures)) if pictures.is_dir() else len(probe(pictures).times()) - 1


def _check_count(pair: _Pair, rows: int, pictures: int) -> None:
    if rows not in (pictures, pictures - 1):
        raise DataError(
            f"{pair.table}: has {rows} rows, expected {pictures} or {pictures - 1}, as {pair.pictures.name} has "
            f"{pictures} pictures",
            'Where the rows were not recorded with the pictures, give them a column "time" in seconds.',
        )


def _names_of_numbers(columns: tuple[str, ...], width: int) -> tuple[str, ...]:
    """The names of the numbers of an action, where each is a column and has one."""
    return columns if len(columns) == width and all(columns) else ()


def _clock_said(first: Episode, reader: _Reader) -> str:
    if reader.clock is None:
        same = "row t is the action taken from picture t on"
        return same if first.times is not None else f"{same}; the pictures have no clock (--fps gives them one)"
    if reader.example.pictures.is_dir():
        return f"row t belongs to picture t, at the time in column {reader.clock.column}"
    return (
        f"row t is the action taken from the picture shown at its time: {reader.clock.in_words()}; rows outside of the "
        "video are left out"
    )


def _repeated(first: Episode, pair: _Pair) -> list[str]:
    """A sentence where a table has more rows than its video has pictures."""
    if pair.pictures.is_dir() or first.times is None or len(first.times) < 2:
        return []
    fps, rows = probe(pair.pictures).fps, rate_of(first.times)
    if rows <= FASTER * fps:
        return []
    return [f"more rows than pictures: each picture is there {rows / fps:.1f} times (--fps {fps:.4g} avoids it)"]


def _first_picture(pictures: Path) -> av.VideoFrame:
    return read_image(images_in(pictures)[0]) if pictures.is_dir() else probe(pictures).first
