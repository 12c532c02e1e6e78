"""The Lance table of stable-worldmodel, which its collection writes by default: JPEG pictures and float32 numbers.

Source: LanceWriter of stable-worldmodel 0.1.1.

Letters: N rows of all episodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from lewm_data.convert.source import Source
from lewm_data.convert.stable_worldmodel.rows import STEP, Table, cameras_in, source
from lewm_data.errors import DataError, missing
from lewm_data.foreign import decoding
from lewm_data.store.contents import memory_limit
from lewm_data.store.schema import ACTION
from lewm_data.video.pictures import decode_image, displayed_size
from lewm_data.video.video import import_av

if TYPE_CHECKING:
    import av

EPISODE = "episode_idx"
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
    with decoding(table, DAMAGED, AGAIN):
        stored = lance.dataset(str(table))
        _check_within(table, stored)
        kinds = {field.name: field.type for field in stored.schema}
        counted = stored.count_rows()
    cameras = cameras_in([name for name, kind in kinds.items() if str(kind) in ("binary", "large_binary")])
    numbers = [name for name, kind in kinds.items() if str(kind).startswith("fixed_size_list<item: float>")]
    if not cameras or EPISODE not in kinds or ACTION not in numbers:
        raise DataError(
            f"{table}: has the columns {', '.join(kinds)}; expected pictures, actions and {EPISODE}",
            "Take a table that stable-worldmodel collected.",
        )
    with decoding(table, DAMAGED, AGAIN):
        columns = {name: _numbers(table, stored, name, counted) for name in numbers}
        episodes = stored.to_table(columns=[EPISODE]).column(EPISODE).to_numpy()
        columns[STEP] = stored.to_table(columns=[STEP]).column(STEP).to_numpy() if STEP in kinds else episodes * 0
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


def _table(path: Path) -> Path | None:
    if not path.is_dir():
        return None
    found = [path] if path.suffix.lower() == ".lance" else sorted(path.glob("*.lance"))
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


def _numbers(table: Path, stored: Any, name: str, rows: int) -> Float32[np.ndarray, "N _"]:  # noqa: ANN401
    width = stored.schema.field(name).type.list_size
    size = 4 * rows * width
    if size > memory_limit():
        raise DataError(f"{table}: '{name}' takes {size:,} bytes, at most {memory_limit():,} fit here", "Split it.")
    column = stored.to_table(columns=[name]).column(name).combine_chunks()
    values: Float32[np.ndarray, "N _"] = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    if len(values) != rows:
        raise DataError(f"{table}: '{name}' is missing in some rows", "Leave that column out.")
    return values


def _pictures(table: Path, stored: Any, name: str, begin: int, count: int) -> Iterator[av.VideoFrame]:  # noqa: ANN401
    for first in range(begin, begin + count, READ_TOGETHER):
        rows = range(first, min(first + READ_TOGETHER, begin + count))
        with decoding(table, DAMAGED, AGAIN):
            blobs = stored.take(list(rows), columns=[name]).column(name)
            contents = [blob.as_py() for blob in blobs]
        for row, content in zip(rows, contents, strict=True):
            yield decode_image(content or b"", f"{table}: row {row} of '{name}'")
