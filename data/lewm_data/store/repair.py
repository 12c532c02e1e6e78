"""What published writers get wrong in a dataset, and how it is mended. Nothing is invented, and no frame is lost.

Letters: E episodes, T rows of an episode.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from lewm_data.envs.registry import known_world, plain_name
from lewm_data.errors import DataError
from lewm_data.store.habits import STATE, Habits
from lewm_data.store.left_out import CONVERSION, LeftOut, read_left_out
from lewm_data.store.opening import reading
from lewm_data.store.salvage import BEYOND_REPAIR, Salvaged, UnreadableError, salvaging
from lewm_data.store.schema import ACTION, EPISODE, LENGTHS, OFFSETS, PIXELS, REWARD, STEP
from lewm_data.store.source_names import SOURCES, sources_in, sources_text
from lewm_data.store.writer import Writer
from lewm_data.temporary import temporary_folder

ORIGINAL = ".original"  # added to the name of the file that was repaired
SEED = "episode_seed"
PIECE_BYTES = 16 << 20  # frames in memory at a time


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with a file, and what a repair makes of it.

    Attributes:
        faults: What is wrong, a plain sentence each: the file cannot be used as it is.
        habits: What its writer does otherwise than lewm. It is read rightly as it is; a repair writes it as lewm does.
        lost: Numbers of the episodes of which rows are missing.
        episodes: Number of episodes that there are after a repair.
    """

    faults: tuple[str, ...]
    habits: tuple[str, ...]
    lost: tuple[int, ...]
    episodes: int


@dataclass(frozen=True)
class Repair:
    """A repair that was done.

    Attributes:
        path: The repaired file.
        original: The file as it was.
        diagnosis: What was wrong.
        frames: Frames of the repaired file.
    """

    path: str
    original: str
    diagnosis: Diagnosis
    frames: int


def diagnose(path: Path) -> Diagnosis:
    """Finds what is wrong with a file, without looking at its frames.

    Raises:
        DataError: Nothing can be read of it, or it cannot be made a dataset.
    """
    with salvaging(path) as salvaged:
        return _diagnosis(salvaged, Habits.of(salvaged))


def repair(path: Path, on_share: Callable[[float], None] = lambda share: None) -> Repair:
    """Writes a file anew without its faults, in its place; the original is kept beside it.

    Raises:
        DataError: It cannot be made a dataset, there is nothing to repair, or there is no room.
    """
    original = path.with_name(path.name + ORIGINAL)
    if original.exists():
        raise DataError(f"{original}: exists already, from an earlier repair", "Move it away, or delete it.")
    with salvaging(path) as salvaged:
        habits = Habits.of(salvaged)
        diagnosis = _diagnosis(salvaged, habits)
        if not (diagnosis.faults or diagnosis.habits):
            raise DataError(
                f"{path}: there is nothing that a repair can mend",
                "Use it, if lewm data verify finds no difference; else copy it again.",
            )
        if not diagnosis.episodes:
            raise DataError(f"{path}: no episode is whole", BEYOND_REPAIR)
        with temporary_folder(path) as folder:
            made = folder / path.name
            unreadable = []
            new = _new_episodes(salvaged, habits)
            with Writer.create(made, _attributes(salvaged, habits, new)) as writer:
                for one in _left_out(salvaged):
                    writer.leave_out(one)
                for number, parts in new.items():
                    try:
                        for episode, first, end in parts:
                            writer.write_pieces(_pieces(salvaged, habits, first, end, episode))
                    except UnreadableError:
                        unreadable.append(number)
                    on_share((number + 1) / len(salvaged.lengths))
                episodes, frames = writer.num_episodes, writer.num_steps
            if not episodes:
                raise DataError(f"{path}: no episode can be read", BEYOND_REPAIR)
            try:
                os.link(path, original)  # so that there is a file of the name at every moment
            except OSError:  # a file system without hard links
                path.rename(original)
            made.replace(path)
    lost = tuple(sorted({*diagnosis.lost, *unreadable}))
    return Repair(str(path), str(original), replace(diagnosis, lost=lost, episodes=episodes), frames)


def _new_episodes(salvaged: Salvaged, habits: Habits) -> dict[int, list[tuple[int, int, int]]]:
    """What each episode becomes: the number, the first row and the end of each new one."""
    count = itertools.count()
    whole = np.flatnonzero(salvaged.whole).tolist()
    return {number: [(next(count), *run) for run in habits.runs(salvaged, number)] for number in whole}


def _attributes(
    salvaged: Salvaged, habits: Habits, new: Mapping[int, Sequence[tuple[int, int, int]]]
) -> dict[str, Any]:
    """The attributes of the repaired file, which names recordings by new numbers where episodes get such."""
    names = sources_in(salvaged.attributes)
    if not habits.gaps or not names or EPISODE not in salvaged.columns:
        return salvaged.attributes
    old = salvaged.column(EPISODE).reshape(-1)[salvaged.offsets[list(new)]].tolist()
    found = {
        episode: names[was]
        for was, parts in zip(old, new.values(), strict=True)
        for episode, *_ in parts
        if was in names
    }
    others = {name: value for name, value in salvaged.attributes.items() if name != SOURCES}
    return others if (text := sources_text(found)) is None else others | {SOURCES: text}


def _left_out(salvaged: Salvaged) -> tuple[LeftOut, ...]:
    """What a conversion left out, as far as it can be read."""
    with contextlib.suppress(DataError), reading(salvaged.path):
        if CONVERSION in salvaged.attributes:
            return read_left_out(salvaged.file)
    return ()


def _diagnosis(salvaged: Salvaged, habits: Habits) -> Diagnosis:
    faults, said = list(salvaged.faults), []
    lost = tuple(np.flatnonzero(~salvaged.whole).tolist())
    if lost:
        faults.append(f"{len(lost)} of {len(salvaged.lengths)} episodes are not whole; the others can be kept")
    if habits.gaps:
        ended = f"a repair ends the episode there{_said_of_seeds(salvaged)}"
        faults.append(f"{len(habits.gaps)} actions within episodes are no numbers; {ended}")
    if habits.bad_rewards:
        faults.append("rewards within episodes are no numbers; a repair makes them 0")
    given, same = habits.last_actions
    if given and given == same:
        said.append(
            "the last row of an episode has its first action, as stable-worldmodel 0.1.1 writes it; no frame follows, "
            "so it is read as none"
        )
    elif given:
        said.append("the last row of an episode has an action; no frame follows, so it is read as none")
    if habits.shifted_reward:
        said.append(
            "a row has the reward of the action before it, as stable-worldmodel writes it; a repair puts it beside its "
            "action"
        )
    if habits.published_states:
        said.append("states are in the unit of published files; they are read, and written by a repair, as lewm's own")
    pieces = sum(1 for number in np.flatnonzero(salvaged.whole) for _ in habits.runs(salvaged, int(number)))
    return Diagnosis(tuple(faults), tuple(said), lost, pieces)


def _said_of_seeds(salvaged: Salvaged) -> str:
    return f", and leaves out {SEED}, which is of whole episodes" if SEED in salvaged.columns else ""


def _pieces(
    salvaged: Salvaged, habits: Habits, first: int, end: int, number: int
) -> Iterator[dict[str, Shaped[np.ndarray, "T ..."]]]:
    """The rows from `first` to `end` as the episode `number`, mended, some at a time."""
    frame = int(np.prod(salvaged.file[PIXELS].shape[1:]))
    step = max(1, PIECE_BYTES // frame)
    left_out = (LENGTHS, OFFSETS, *((SEED,) if habits.gaps else ()))
    names = [name for name in salvaged.columns if name not in left_out]
    for begin in range(first, end, step):
        stop = min(begin + step, end)
        piece = {name: salvaged.rows(name, begin, stop) for name in names}
        if stop == end:
            piece[ACTION][-1] = np.nan
        if habits.gaps:  # episodes have become more, and some begin in the middle of what was one
            for name, values in (
                (EPISODE, np.full(stop - begin, number)),
                (STEP, np.arange(begin - first, stop - first)),
            ):
                if name in piece and piece[name].ndim == 1:
                    piece[name] = values.astype(piece[name].dtype)
        if REWARD in piece:
            if habits.shifted_reward:
                following = salvaged.rows(REWARD, min(begin + 1, end - 1), min(stop + 1, end))[: end - begin - 1]
                piece[REWARD] = np.concatenate(
                    [following, np.zeros_like(piece[REWARD][: stop - begin - len(following)])]
                )
            piece[REWARD] = np.nan_to_num(piece[REWARD], nan=0.0, posinf=0.0, neginf=0.0)
        if habits.published_states:
            world = known_world(plain_name(salvaged.attributes["env"]))
            assert world is not None
            piece[STATE] = world.from_published(piece[STATE].astype(np.float64))
        yield piece
