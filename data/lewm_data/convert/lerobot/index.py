"""What a LeRobot dataset says about itself: its features, and where each episode is.

Letters: E episodes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from lewm_data.errors import DataError
from lewm_data.foreign import check_file, decoding
from lewm_data.parquet import numbers_of, read_rows
from lewm_data.store.schema import is_numbers

INFO = "meta/info.json"
MOST_INFO = 1 << 24  # bytes
MOST_EPISODES = 1 << 28  # bytes of the list of episodes: it has 100 bytes a line
MOST_LISTED = 1 << 20  # episodes in a Parquet file of them, which may be much smaller than what it unpacks to
LONGEST_ROBOT = 200  # characters
FIELD = re.compile(r"\{(\w+)(?::0(\d)d)?\}")  # of a path template: "{episode_index:06d}"
AGAIN = "Copy the whole dataset again."


@dataclass(frozen=True)
class Feature:
    """A column or a camera.

    Attributes:
        kind: "video", "image", or the type of numbers.
        names: The names of its numbers, where it has them.
        depth: Whether its pictures are distances.
        shape: The shape of a row of numbers; empty where it is not said.
    """

    kind: str
    names: tuple[str, ...]
    depth: bool
    shape: tuple[int, ...]

    @property
    def is_camera(self) -> bool:
        """Whether it has pictures."""
        return self.kind in ("video", "image")

    @property
    def is_numeric(self) -> bool:
        """Whether it has numbers, and no pictures or maps."""
        numeric = self.kind.startswith(("float", "int", "uint", "bool"))
        return numeric and is_numbers(np.dtype(np.float64), self.shape)


@dataclass(frozen=True)
class Place:
    """Where an episode is.

    Attributes:
        number: Its number in the tables.
        length: Rows.
        table: The Parquet file.
        videos: By the name of a camera, its video and the time in it at which the episode begins, in seconds.
    """

    number: int
    length: int
    table: Path
    videos: Mapping[str, tuple[Path, float]]


@dataclass(frozen=True)
class Index:
    """A dataset's description.

    Attributes:
        path: The folder.
        version: Its version, for example "v2.1".
        fps: Rows a second.
        robot: The kind of robot, or None.
        features: By name.
        places: The episodes.
    """

    path: Path
    version: str
    fps: float
    robot: str | None
    features: Mapping[str, Feature]
    places: tuple[Place, ...]


def read_index(path: Path) -> Index:
    """Reads the description of a dataset.

    Raises:
        DataError: It is of a version that is not known here, incomplete or damaged, or a path in it leads out of the
            folder.
    """
    where = path / INFO
    check_file(where, MOST_INFO)
    with decoding(where, "is no description of a LeRobot dataset", AGAIN):
        info = json.loads(where.read_bytes())
        version, fps, robot = str(info["codebase_version"]), float(info["fps"]), info.get("robot_type")
        features = {str(name): _feature(one) for name, one in info["features"].items()}
        chunk = int(info.get("chunks_size") or 1000)
        templates = {name: _template(path, info, name) for name in ("data_path", "video_path")}
    if not 0 < fps < 1e4:
        raise DataError(f"{where}: {fps:g} rows a second", "Correct fps in it.")
    videos = [name for name, one in features.items() if one.kind == "video"]
    if version.startswith("v2."):
        places = _places_v2(path, templates, videos, chunk)
    elif version.startswith("v3."):
        places = _places_v3(path, templates, videos)
    else:
        raise DataError(
            f"{where}: version {version[:20]}, expected v2.0, v2.1 or v3.0",
            "Convert it with LeRobot first: its package has a script for each version.",
        )
    found = tuple(sorted(places, key=lambda place: place.number))
    if not found:
        raise DataError(f"{path}: has no episodes", AGAIN)
    return Index(path, version, fps, _robot(robot), features, found)


def _feature(stored: Mapping[str, Any]) -> Feature:
    names = stored.get("names")
    if isinstance(names, dict):  # {"motors": ["shoulder", ...]}
        names = next(iter(names.values()), None)
    about = stored.get("info") or stored.get("video_info") or {}
    depth = bool(about.get("video.is_depth_map") or about.get("is_depth_map"))
    names = tuple(map(str, names)) if isinstance(names, list) else ()
    return Feature(str(stored["dtype"]), names, depth, tuple(map(int, stored.get("shape") or ())))


def _robot(stored: object) -> str | None:
    """The kind of robot, where an attribute of a file can hold it."""
    return stored if isinstance(stored, str) and stored.isprintable() and len(stored) <= LONGEST_ROBOT else None


def _template(path: Path, info: Mapping[str, Any], name: str) -> str:
    """A path template, which stays in the folder: it is from a file of anybody's.

    Raises:
        DataError: It does not.
    """
    text = info.get(name) or ""
    place = PurePosixPath(text)
    if place.is_absolute() or ".." in place.parts or "\\" in text or "\0" in text:
        raise DataError(
            f"{path / INFO}: {name} leads out of the folder: {text[:80]}", "Do not use a dataset that does this."
        )
    if "{" in FIELD.sub("", text):
        raise DataError(f"{path / INFO}: {name} is {text[:80]}, which is not understood", AGAIN)
    return text


def _filled(path: Path, template: str, values: Mapping[str, int | str]) -> Path:
    """The file that a template names.

    Raises:
        DataError: It asks for a value that is not there, or a name in it leads out of the folder.
    """

    def value(field: re.Match[str]) -> str:
        if field[1] not in values:
            raise DataError(f"{path / INFO}: {{{field[1]}}} in a path is not understood", AGAIN)
        found = values[field[1]]
        return f"{found:0{field[2] or 1}d}" if isinstance(found, int) else found

    filled = PurePosixPath(FIELD.sub(value, template))
    if ".." in filled.parts or filled.is_absolute() or "\0" in str(filled):
        raise DataError(f"{path / INFO}: leads out of the folder: {str(filled)[:80]}", "Do not use such a dataset.")
    return path / filled


def _places_v2(path: Path, templates: Mapping[str, str], videos: list[str], chunk: int) -> Iterator[Place]:
    listed = path / "meta" / "episodes.jsonl"
    check_file(listed, MOST_EPISODES)
    with decoding(listed, "is no list of episodes", AGAIN), listed.open(encoding="utf-8") as file:
        for line in filter(str.strip, file):
            one = json.loads(line)
            number, length = int(one["episode_index"]), int(one["length"])
            values = {"episode_index": number, "episode_chunk": number // chunk}
            shown = {
                name: (_filled(path, templates["video_path"], {**values, "video_key": name}), 0.0) for name in videos
            }
            yield Place(number, length, _filled(path, templates["data_path"], values), shown)


def _places_v3(path: Path, templates: Mapping[str, str], videos: list[str]) -> Iterator[Place]:
    files = sorted((path / "meta" / "episodes").glob("*/*.parquet"))
    if not files:
        raise DataError(f"{path / 'meta' / 'episodes'}: has no list of episodes", AGAIN)
    wanted = ["episode_index", "length", "data/chunk_index", "data/file_index"]
    of_video = [f"videos/{name}/{part}" for name in videos for part in ("chunk_index", "file_index", "from_timestamp")]
    for file in files:
        check_file(file, MOST_EPISODES)
        rows = read_rows(file, [*wanted, *of_video])
        if len(rows) > MOST_LISTED:
            raise DataError(f"{file}: lists {len(rows):,} episodes, at most {MOST_LISTED:,} are read", "Split it.")
        listed = {name: numbers_of(file, rows, name) for name in (*wanted, *of_video)}
        with decoding(file, "is no list of episodes", AGAIN):
            for row in range(len(rows)):
                number, length, of_chunk, of_file = (int(listed[name][row]) for name in wanted)
                table = _filled(path, templates["data_path"], {"chunk_index": of_chunk, "file_index": of_file})
                shown = {}
                for name in videos:
                    at = {part: int(listed[f"videos/{name}/{part}"][row]) for part in ("chunk_index", "file_index")}
                    video = _filled(path, templates["video_path"], {**at, "video_key": name})
                    shown[name] = video, float(listed[f"videos/{name}/from_timestamp"][row])
                yield Place(number, length, table, shown)
