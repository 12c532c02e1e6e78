"""The Lance table of stable-worldmodel, which its collection writes by default: JPEG pictures and float32 numbers.

Its repository has another format, lance_video, with a video an episode in a second table, which is refused.

Source: LanceWriter of stable-worldmodel 0.1.1, and LanceVideoWriter of its repository at commit 116278d.

Letters: R rows that are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int, Shaped

from lewm_data.convert.source import Source
from lewm_data.convert.stable_worldmodel.rows import Table, cameras_in, source
from lewm_data.errors import DataError, missing
from lewm_data.foreign import decoding
from lewm_data.store.contents import memory_limit
from lewm_data.store.schema import ACTION, STEP, is_numbers
from lewm_data.video.pictures import decode_image, displayed_size
from lewm_data.video.video import import_av

if TYPE_CHECKING:
    import av

EPISODE = "episode_idx"
VIDEOS = "_videos.lance"  # the end of the name of the second table of the format lance_video
TAKEN_TOGETHER = 1 << 16  # rows of numbers
READ_TOGETHER = 32  # pictures: 0.5 MB at 224 x 224
DAMAGED, AGAIN = "is no Lance table that can be read, or not all of one", "Copy it again."


def recognises(path: Path) -> bool:
    """Whether this is a table, or a folder with one table in it."""
    return _table(path) is not None


def opens(path: Path, camera: str | None) -> Source:
    """Opens a table.

    Raises:
        DataError: Lance is not installed, or the table has no pictures, is not in the order of its episodes, or is
            damaged.
    """
    import_av("reading pictures")
    try:
        import lance  # an extra
    except ModuleNotFoundError as error:
        raise missing("reading Lance needs pylance", "formats") from error
    table = _table(path)
    assert table is not None
    with _reading(table):
        stored = lance.dataset(str(table))
        _check_within(table, stored)
        kinds = {field.name: field.type for field in stored.schema}
        counted = stored.count_rows()
    cameras = cameras_in([name for name, kind in kinds.items() if str(kind) in ("binary", "large_binary")])
    videos = table.with_name(f"{table.stem}{VIDEOS}")
    if not cameras and videos.is_dir():
        raise DataError(
            f"{table}: its pictures are videos in {videos.name}, as no release of stable-worldmodel stores them yet",
            'Give it to stable-worldmodel, and write it in the format "lance", "folder" or "video".',
        )
    lists = {name: kind for name, kind in kinds.items() if str(kind).startswith("fixed_size_list<item: float>")}
    numbers = [name for name, kind in lists.items() if is_numbers(np.dtype(np.float32), (kind.list_size,))]
    if not cameras or EPISODE not in kinds or ACTION not in numbers:
        raise DataError(
            f"{table}: has the columns {', '.join(kinds)}; expected pictures, actions and {EPISODE}",
            "Take a table that stable-worldmodel collected.",
        )
    kept = [*numbers, STEP] if STEP in kinds else numbers
    episodes = _Column(table, stored, EPISODE, counted)[:]
    if (np.diff(episodes) < 0).any():
        raise DataError(f"{table}: its rows are not in the order of the episodes", "Write it again in that order.")
    offsets = np.flatnonzero(np.diff(episodes, prepend=episodes[:1] - 1))
    rows = Table(
        where=str(table),
        cameras=cameras,
        columns={name: _Column(table, stored, name, counted) for name in kept},
        lengths=np.diff(np.append(offsets, len(episodes))),
        offsets=offsets,
        others=[name for name in kinds if name not in (*cameras, *numbers, EPISODE, STEP)],
    )
    return source(
        rows,
        camera,
        lambda name: displayed_size(next(_pictures(table, stored, name, 0, 1))),
        lambda name, _, begin, count: _pictures(table, stored, name, begin, count),
    )


@contextmanager
def _reading(table: Path) -> Iterator[None]:
    """Turns any error in the block into a DataError. On damaged files Lance panics, as programs in Rust call it."""
    with decoding(table, DAMAGED, AGAIN):
        try:
            yield
        except BaseException as error:
            if type(error).__name__ != "PanicException":
                raise
            raise RuntimeError(str(error)) from error


def _table(path: Path) -> Path | None:
    if not path.is_dir():
        return None
    found = [path] if path.suffix.lower() == ".lance" else sorted(path.glob("*.lance"))
    if len(found) > 1:
        found = [one for one in found if not one.name.endswith(VIDEOS)]
    return found[0] if len(found) == 1 and (found[0] / "_versions").is_dir() else None


def _check_within(table: Path, stored: Any) -> None:  # noqa: ANN401  # a lance.LanceDataset
    """Raises if the table names files outside itself, as Lance allows."""
    for fragment in stored.get_fragments():
        for file in fragment.data_files():
            place = PurePosixPath(file.path)
            if file.base_id is not None or place.is_absolute() or ".." in place.parts:
                raise DataError(
                    f"{table}: has data outside of it, in {file.path}", "Only data in the table itself are read."
                )


@dataclass(frozen=True)
class _Column:
    """A column of numbers, which stays in the table.

    Rows are taken by their numbers, in blocks: where the file is damaged, Lance's scan may end the process.
    """

    table: Path
    stored: Any  # a lance.LanceDataset
    name: str
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, rows: slice | Int[np.ndarray, " R"]) -> Shaped[np.ndarray, "R ..."]:
        wanted = np.arange(self.count)[rows] if isinstance(rows, slice) else rows
        width = getattr(self.stored.schema.field(self.name).type, "list_size", None)
        size = 4 * len(wanted) * (width or 1)
        if size > memory_limit():
            most = f"at most {memory_limit():,} fit here"
            raise DataError(f"{self.table}: '{self.name}' takes {size:,} bytes, {most}", "Split it.")
        begins = range(0, len(wanted), TAKEN_TOGETHER)
        blocks = [self._taken(wanted[begin : begin + TAKEN_TOGETHER], width) for begin in begins]
        return np.concatenate(blocks) if blocks else np.zeros((0, width or 1), np.float32)

    def _taken(self, rows: Int[np.ndarray, " R"], width: int | None) -> Shaped[np.ndarray, "R ..."]:
        with _reading(self.table):
            column = self.stored.take(rows.tolist(), columns=[self.name]).column(self.name).combine_chunks()
            flat = column if width is None else column.flatten()
            values: np.ndarray = flat.to_numpy(zero_copy_only=False)
            if column.null_count or flat.null_count or len(values) != len(rows) * (width or 1):
                raise DataError(f"{self.table}: '{self.name}' is missing in some rows", "Leave that column out.")
        return values if width is None else values.reshape(len(rows), width)


def _pictures(table: Path, stored: Any, name: str, begin: int, count: int) -> Iterator[av.VideoFrame]:  # noqa: ANN401
    for first in range(begin, begin + count, READ_TOGETHER):
        rows = range(first, min(first + READ_TOGETHER, begin + count))
        with _reading(table):
            blobs = stored.take(list(rows), columns=[name]).column(name)
            contents = [blob.as_py() for blob in blobs]
        for row, content in zip(rows, contents, strict=True):
            yield decode_image(content or b"", f"{table}: row {row} of '{name}'")
