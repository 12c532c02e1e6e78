"""The Lance table of stable-worldmodel, which its collection writes by default: JPEG pictures and float32 numbers.

Its repository has another format, lance_video, with a video an episode in a second table, which is refused.

Source: LanceWriter of stable-worldmodel 0.1.1, and LanceVideoWriter of its repository at commit 116278d.

Letters: N rows of all episodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Shaped

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
    indices = [name for name in (EPISODE, STEP) if name in kinds]
    columns = _read(table, stored, [*numbers, *indices], counted)
    episodes = columns.pop(EPISODE)
    if (np.diff(episodes) < 0).any():
        raise DataError(f"{table}: its rows are not in the order of the episodes", "Write it again in that order.")
    offsets = np.flatnonzero(np.diff(episodes, prepend=episodes[:1] - 1))
    rows = Table(
        where=str(table),
        cameras=cameras,
        columns=columns,
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


def _read(table: Path, stored: Any, names: list[str], rows: int) -> dict[str, Shaped[np.ndarray, "N ..."]]:  # noqa: ANN401
    """Columns of numbers, all rows of each.

    They are taken by their numbers, in blocks: where the file is damaged, Lance's scan may end the process.
    """
    widths = {name: getattr(stored.schema.field(name).type, "list_size", None) for name in names}
    size = 4 * rows * sum(width or 1 for width in widths.values())
    if size > memory_limit():
        raise DataError(f"{table}: its numbers take {size:,} bytes, at most {memory_limit():,} fit here", "Split it.")
    blocks: dict[str, list[Shaped[np.ndarray, "N ..."]]] = {name: [] for name in names}
    for first in range(0, rows, TAKEN_TOGETHER):
        count = min(TAKEN_TOGETHER, rows - first)
        with _reading(table):
            block = stored.take(list(range(first, first + count)), columns=names)
            for name in names:
                column = block.column(name).combine_chunks()
                flat = column if widths[name] is None else column.flatten()
                values = flat.to_numpy(zero_copy_only=False)
                if column.null_count or flat.null_count or len(values) != count * (widths[name] or 1):
                    raise DataError(f"{table}: '{name}' is missing in some rows", "Leave that column out.")
                blocks[name].append(values if widths[name] is None else values.reshape(count, -1))
    return {name: np.concatenate(parts) if parts else np.zeros(0) for name, parts in blocks.items()}


def _pictures(table: Path, stored: Any, name: str, begin: int, count: int) -> Iterator[av.VideoFrame]:  # noqa: ANN401
    for first in range(begin, begin + count, READ_TOGETHER):
        rows = range(first, min(first + READ_TOGETHER, begin + count))
        with _reading(table):
            blobs = stored.take(list(rows), columns=[name]).column(name)
            contents = [blob.as_py() for blob in blobs]
        for row, content in zip(rows, contents, strict=True):
            yield decode_image(content or b"", f"{table}: row {row} of '{name}'")
