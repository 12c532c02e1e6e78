"""A worker process plays episodes for another process, which writes them. Nothing here knows of HDF5.

Tasks and answers go through a pipe. The columns of an episode go through a block of shared memory, which the other
process reads and removes.
"""

import faulthandler
import os
import traceback
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import numpy as np

from lewm_data.blame import raised_by_user
from lewm_data.collection.episodes import Player, Settings
from lewm_data.collection.recorder import Columns
from lewm_data.disk import reserve
from lewm_data.envs.registry import world
from lewm_data.errors import DataError

SHARED_MEMORY = Path("/dev/shm")  # where Linux keeps shared memory
ALIGNMENT = 64  # bytes


@dataclass(frozen=True)
class Task:
    """An episode to play, and the name of the block for its columns."""

    episode: int
    block: str


@dataclass(frozen=True)
class Layout:
    """The place of a column in a block."""

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int


@dataclass(frozen=True)
class Finished:
    """The next task is done: its columns are in its block. The seconds are those since the task before."""

    layout: tuple[Layout, ...]
    stepping: float
    acting: float


@dataclass(frozen=True)
class Failed:
    """The next task cannot be done. `remedy` is None where the error is not a `DataError`."""

    problem: str
    remedy: str | None
    traceback: str


def work(connection: Connection, world_name: str, detail: str | None, fit: str | None, settings: Settings) -> None:
    """Does one `Task` after the other, and answers each, until the connection is closed."""
    faulthandler.enable()  # a crash in native code says where it was
    told: deque[Task] = deque(maxlen=1)

    def next_episode() -> int | None:
        try:
            told.append(connection.recv())
        except (EOFError, ConnectionError):  # there are no more tasks, or the other process has ended
            return None
        return told[0].episode

    try:
        player = Player(world(world_name).drawn(detail).fitted(fit), settings, 1)
        for _, columns in player.play(next_episode):
            layout = hand_over(columns, told[0].block)
            connection.send(Finished(layout, player.seconds.stepping, player.seconds.acting))
            player.seconds.stepping = player.seconds.acting = 0.0
        player.close()
    except ConnectionError:  # the other process has ended
        pass
    except DataError as error:
        connection.send(Failed(error.problem, error.remedy, traceback.format_exc()))
    except MemoryError:
        remedy = "Use fewer --workers or a smaller --frame-size, or close other programs."
        connection.send(Failed("the machine's memory is too small for this worker", remedy, traceback.format_exc()))
    except Exception as error:  # an environment or a policy of the user's may raise anything
        problem = raised_by_user(error) or f"{type(error).__name__}: {error}"
        connection.send(Failed(problem, None, traceback.format_exc()))


def hand_over(columns: Columns, name: str) -> tuple[Layout, ...]:
    """Copies columns into a new block of shared memory.

    Raises:
        DataError: There is too little memory for it.
    """
    layout, offset = [], 0
    for column, values in columns.items():
        layout.append(Layout(column, values.dtype, values.shape, offset))
        offset += -(-values.nbytes // ALIGNMENT) * ALIGNMENT
    block = SharedMemory(name, create=True, size=offset)
    try:
        _reserve(name, offset)
        for place, values in zip(layout, columns.values(), strict=True):
            _view(block, place)[...] = values
    finally:
        block.close()
    return tuple(layout)


def take(name: str, layout: Iterable[Layout]) -> Columns:
    """Returns the columns that `hand_over` left in a block, and removes the block."""
    block = SharedMemory(name)
    try:
        return {place.name: _view(block, place).copy() for place in layout}
    finally:
        block.close()
        block.unlink()


def discard(name: str) -> None:
    """Removes a block, if it exists."""
    try:
        block = SharedMemory(name)
    except FileNotFoundError:
        return
    except ValueError:  # its maker died before giving it a size
        (SHARED_MEMORY / name).unlink(missing_ok=True)
        return
    block.close()
    block.unlink()


def _view(block: SharedMemory, place: Layout) -> np.ndarray:
    return np.ndarray(place.shape, place.dtype, block.buf, place.offset)


def _reserve(name: str, size: int) -> None:
    """Makes sure that memory backs the whole block; else writing to it would kill the process."""
    if not SHARED_MEMORY.is_dir():
        return
    handle = os.open(SHARED_MEMORY / name, os.O_RDWR)
    try:
        reserve(handle, SHARED_MEMORY, 0, size)
    except OSError as error:
        raise DataError(
            f"{SHARED_MEMORY}: no room for an episode of {size / 1e6:.0f} MB: {error.strerror}",
            "Use fewer --workers, or give the container more shared memory (docker run --shm-size).",
        ) from error
    finally:
        os.close(handle)
