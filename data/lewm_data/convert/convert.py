"""Converting: from a source in another format to a dataset, one episode at a time."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import json
import logging
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lewm_data.convert.formats import open_source
from lewm_data.convert.rows import chosen_rows, pieces
from lewm_data.convert.sampling import FASTER, HOLD, RESAMPLINGS, rate_of
from lewm_data.convert.source import Episode, Source
from lewm_data.envs.registry import plain_name
from lewm_data.errors import DataError, unknown
from lewm_data.store.dataset import Dataset
from lewm_data.store.merge import CONVERSION, unconverted
from lewm_data.store.schema import ACTION
from lewm_data.store.writer import Writer
from lewm_data.video.fit import CROP, check_fit, in_words

logger = logging.getLogger(__name__)

OnRows = Callable[[int, float], None]  # episodes that are done, and the share of the next one that is

MOST_FILES = 100_000  # of a source, which are looked at to notice a change
LARGEST_SIDE = 224  # pixels: the frames of the published model; smaller pictures are not enlarged
EPISODE, STEP = "episode_idx", "step_idx"


@dataclass(frozen=True)
class Request:
    """What to convert, and how.

    Attributes:
        source: A file or a folder.
        out: The dataset to write; one that this conversion began is continued.
        camera: The camera to take; needed only where there are several.
        fps: Rows a second that are taken; None takes all. Where the source has no clock, it is the rate it is said to
            have.
        frame_size: Sides of the frames in pixels; None takes the shorter side of the pictures, but at most
            `LARGEST_SIDE`.
        fit: How pictures that are not square become so: "crop", "letterbox" or "stretch".
        resample: How the actions between two rows that are taken become one: "hold", "mean" or "sum".
        part: (k, n) converts the k-th of n parts of the episodes, counted from 1.
        env: What the dataset calls its world; None takes the format's own name, else the source's.
        overwrite: Whether to replace `out`.
        skip_damaged: Whether to leave out episodes that cannot be read, instead of stopping.
    """

    source: Path
    out: Path
    camera: str | None = None
    fps: float | None = None
    frame_size: int | None = None
    fit: str = CROP
    resample: str = HOLD
    part: tuple[int, int] = (1, 1)
    env: str | None = None
    overwrite: bool = False
    skip_damaged: bool = False


@dataclass(frozen=True)
class Plan:
    """What a conversion is going to do, before it does.

    Attributes:
        format: What the source's format is called.
        assumptions: What is assumed, a plain sentence each.
        episodes: Number of episodes of the part that is converted.
        done: How many of them the dataset has already, or left out.
    """

    format: str
    assumptions: tuple[str, ...]
    episodes: int
    done: int


@dataclass(frozen=True)
class Report:
    """The result of a conversion.

    Attributes:
        out: The dataset.
        plan: What was assumed.
        episodes: Episodes of the dataset.
        frames: Frames of the dataset.
        left_out: Names of episodes that could not be read, and why.
        footage: Seconds of the recordings that were converted now; None without a clock.
        seconds: Seconds that it took.
    """

    out: str
    plan: Plan
    episodes: int
    frames: int
    left_out: tuple[tuple[str, str], ...]
    footage: float | None
    seconds: float


def convert(
    request: Request,
    on_plan: Callable[[Plan], None] = lambda plan: None,
    on_rows: OnRows = lambda episodes, share: None,
) -> Report:
    """Converts a source, or goes on where the same conversion was interrupted.

    Args:
        request: What to convert, and how.
        on_plan: Called once, before any episode is converted.
        on_rows: Called with the number of episodes that are done, and the share of the next one.

    Raises:
        DataError: The source is in no known format or damaged, an option does not fit it, or `out` cannot be written,
            or exists and is another dataset. All episodes before are kept, and the same command goes on after them.
        CompleteError: The same was done before.
    """
    began = time.perf_counter()
    check_fit(request.fit)
    if request.resample not in RESAMPLINGS:
        raise unknown("way of resampling actions", request.resample, RESAMPLINGS)
    source = open_source(request.source, request.camera)
    with contextlib.ExitStack() as ended:
        ended.callback(source.close)
        numbers = _part(source, request)
        first = _first(source, numbers, request)
        work = _Work(source, request)
        done = _done(request, work, numbers)
        plan = Plan(source.format, tuple(_assumptions(work, first)), len(numbers), done)
        on_plan(plan)
        return _write(work, plan, numbers, on_rows, began)


class OtherError(DataError):
    """A dataset that was made in another way, or of another source."""


class CompleteError(DataError):
    """A conversion that has been done already."""


class UnreadableError(DataError):
    """An episode of a source that cannot be read, where others may be."""


@dataclass(frozen=True)
class _Work:
    source: Source
    request: Request

    @property
    def size(self) -> tuple[int, int]:
        """Y and X of the frames."""
        side = self.request.frame_size or min(LARGEST_SIDE, *self.source.size)
        return side, side

    @property
    def fps(self) -> float | None:
        """Steps a second."""
        return self.request.fps or self.source.fps

    @property
    def settings(self) -> str:
        """All on which the rows of the dataset depend."""
        request = self.request
        return json.dumps(
            {
                "source": request.source.resolve().name,
                "source_id": source_id(request.source),
                "source_state": source_state(request.source, request.out),
                "format": self.source.format,
                "episodes": len(self.source.episodes),
                "camera": request.camera,
                "fps": request.fps,
                "frame_size": list(self.size),
                "fit": request.fit,
                "resample": request.resample,
                "part": list(request.part),
                "env": request.env,
            },
            sort_keys=True,
        )

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes of the dataset."""
        request = self.request
        named = request.env or self.source.attributes.get("env") or plain_name(request.source.resolve().stem)
        clock = {} if self.fps is None else {"fps": self.fps}
        about = {
            "fit": request.fit,
            "resample": request.resample,
            "converted_from": self.source.format,
            CONVERSION: self.settings,
        }
        return {**self.source.attributes, "env": named, **clock, **about}


def _write(work: _Work, plan: Plan, numbers: range, on_rows: OnRows, began: float) -> Report:
    request, left_out, footage = work.request, list[tuple[str, str]](), 0.0
    with _writer(work, plan) as writer:
        for place in range(plan.done, len(numbers)):
            number = numbers[place]
            try:
                with _reading():
                    episode = work.source.read(number)
                    _check_rate(work, episode)
                    rows, columns = chosen_rows(episode, request.fps, request.resample)
                counts = {EPISODE: np.full(len(rows), number, np.int32), STEP: np.arange(len(rows), dtype=np.int32)}
                shown = functools.partial(on_rows, place)
                writer.write_pieces(
                    _read(pieces(episode, rows, columns | counts, work.source.size, work.size, request.fit, shown))
                )
            except UnreadableError as error:
                if not request.skip_damaged:
                    raise
                logger.warning("%s: left out", error.problem)
                left_out.append((work.source.episodes[number], error.problem))
            else:
                footage += 0.0 if episode.times is None else float(episode.times[-1] - episode.times[0])
        episodes, frames = writer.num_episodes, writer.num_steps
    if not episodes:
        raise DataError(f"{request.source}: none of its {len(numbers)} episodes can be read", left_out[0][1])
    on_rows(len(numbers), 0.0)
    clock = None if work.source.fps is None else footage
    return Report(str(request.out), plan, episodes, frames, tuple(left_out), clock, time.perf_counter() - began)


def _check_rate(work: _Work, episode: Episode) -> None:
    """Raises where all rows are taken, and this episode was recorded at another rate than the first."""
    usual = work.source.fps
    if work.request.fps is not None or usual is None or episode.times is None or len(episode.times) < 2:
        return
    found = rate_of(episode.times)
    if max(found, usual) > FASTER * min(found, usual):
        raise DataError(
            f"{episode.name}: has {found:.4g} rows a second, the first episode {usual:.4g}",
            f"Take as many of all: --fps {min(found, usual):.4g}, or less.",
        )


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """Marks errors in the block as those of an episode that cannot be read."""
    try:
        yield
    except DataError as error:
        raise UnreadableError(error.problem, error.remedy) from error


def _read(made: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    with _reading():
        yield from made


def _first(source: Source, numbers: range, request: Request) -> Episode:
    """The first episode; the first that can be read where damaged ones are left out."""
    for number in numbers if request.skip_damaged else ():
        with contextlib.suppress(DataError):
            return source.read(number)
    return source.read(numbers[0])


def _writer(work: _Work, plan: Plan) -> Writer:
    if plan.done:
        return Writer.append(work.request.out)
    return Writer.create(work.request.out, work.attributes, work.request.overwrite)


def source_id(source: Path) -> str:
    """A mark of a source's place, by which another source of the same name is told from it."""
    return hashlib.sha256(str(source.expanduser().resolve()).encode()).hexdigest()[:16]


def source_state(source: Path, out: Path) -> str:
    """A mark of the names, sizes and times of a source's files but `out`, by which a change of them is noticed."""
    found = [source] if source.is_file() else sorted(itertools.islice(source.rglob("*"), MOST_FILES))
    ours = out.absolute()
    state = [
        [str(one.relative_to(source)), *_size_and_time(one)]
        for one in found
        if not one.name.startswith(".") and one.absolute() != ours
    ]
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()[:16]


def _size_and_time(path: Path) -> list[int]:
    with contextlib.suppress(OSError):
        about = path.stat()
        if stat.S_ISREG(about.st_mode):
            return [about.st_size, about.st_mtime_ns]
    return []


def is_of(dataset: Path, source: Path) -> bool:
    """Whether a file is a dataset that was converted from a source, as it is now or as it was."""
    return _settings_of(dataset).get("source_id") == source_id(source)


def is_all_of(dataset: Path, source: Path) -> bool:
    """Whether a file is a dataset of the whole of a source as it is now, whatever the options."""
    settings = _settings_of(dataset)
    if settings.get("source_state") != source_state(source, dataset) or settings.get("part") != [1, 1]:
        return False
    with Dataset.open(dataset) as opened:
        return is_of(dataset, source) and not unconverted(opened)


def _settings_of(dataset: Path) -> dict[str, Any]:
    try:
        with Dataset.open(dataset) as opened:
            settings = json.loads(opened.attributes.get(CONVERSION, "{}"))
    except (DataError, ValueError):
        return {}
    return settings if isinstance(settings, dict) else {}


def _part(source: Source, request: Request) -> range:
    part, parts = request.part
    if not 1 <= part <= parts:
        raise DataError(f"part {part} of {parts}", "Parts are counted from 1, for example --part 2/4.")
    count = len(source.episodes)
    numbers = range(count * (part - 1) // parts, count * part // parts)
    if not numbers:
        raise DataError(f"{request.source}: {count} episodes are too few for {parts} parts", "Make fewer parts.")
    return numbers


def _done(request: Request, work: _Work, numbers: range) -> int:
    """How many episodes of the part need not be converted any more.

    Raises:
        DataError: `out` is another dataset, or all is done.
    """
    if request.overwrite or not request.out.exists():
        return 0
    with Dataset.open(request.out) as dataset:
        begun = dataset.attributes.get(CONVERSION)
        if begun != work.settings:
            raise OtherError(
                f"{request.out}: exists already, and is not of this conversion",
                "Name another file with --out, or replace it with --overwrite.",
            )
        done = int(dataset.column(EPISODE)[-1]) - numbers.start + 1
    if done == len(numbers):
        raise CompleteError(f"{request.out}: is complete already", "Use it, or replace it with --overwrite.")
    return done


def _assumptions(work: _Work, first: Episode) -> Iterator[str]:
    yield from work.source.assumptions
    yield in_words(work.source.size, work.size, work.request.fit)
    if len(first.columns[ACTION]) == first.rows:
        yield "as many actions as pictures: no picture follows the last one of an episode, which is left out"
    else:
        yield "one picture more than actions: the last picture of an episode has none"
    recorded, asked = work.source.fps, work.request.fps
    if recorded is None:
        yield f"{asked:g} steps a second, as you say" if asked else "no clock: how fast it was recorded is not known"
    elif asked is None:
        yield f"{recorded:.4g} steps a second, as recorded"
    else:
        how = {"hold": "the first action", "mean": "the mean of the actions", "sum": "the sum of the actions"}
        yield f"{asked:g} steps a second of {recorded:.4g}; {how[work.request.resample]} in between is taken"
    part, parts = work.request.part
    if parts > 1:
        yield f"part {part} of {parts}: the rest goes into other files, which lewm data merge joins"
