"""Converting: from a source in another format to a dataset, one episode at a time."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lewm_data.convert.appearance import Appearance, check_appearance
from lewm_data.convert.assumptions import Kind, assumptions, kinds_of, rate_of_rows
from lewm_data.convert.begun import Begun, begun
from lewm_data.convert.formats import open_source
from lewm_data.convert.marks import source_id, source_state
from lewm_data.convert.request import Plan, Report, Request
from lewm_data.convert.rows import chosen_rows, pieces
from lewm_data.convert.sampling import RESAMPLINGS, differ
from lewm_data.convert.source import Episode, Source
from lewm_data.envs.registry import plain_name
from lewm_data.errors import DataError, unknown
from lewm_data.store.left_out import CONVERSION, LeftOut
from lewm_data.store.schema import EPISODE, STEP
from lewm_data.store.source_names import ACTION_NAMES, SOURCES, action_names_text, sources_text
from lewm_data.store.writer import Writer
from lewm_data.video.placing import LARGEST_SIDE, check_fit

logger = logging.getLogger(__name__)

OPTION = "--skip-damaged"

OnRows = Callable[[int, float], None]  # episodes that are done, and the share of the next one that is


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
    check_appearance(request.color_order, request.flip)
    if request.resample not in RESAMPLINGS:
        raise unknown("way of resampling actions", request.resample, RESAMPLINGS)
    source = open_source(request.source, request.camera)
    with contextlib.ExitStack() as ended:
        ended.callback(source.close)
        numbers = _part(source, request)
        work = _Work(source, request, kinds_of(source, numbers))
        found = begun(request, work.settings, numbers)
        unreadable = {one.number for one in found.left_out}
        first = _first(source, [number for number in numbers if number not in unreadable], request)
        if not request.skip_damaged:
            _check_rate(work, first)
        said = assumptions(request, source, len(numbers), first, work.kinds, work.size)
        plan = Plan(source.format, tuple(said), len(numbers), found.done, found.path != request.out)
        on_plan(plan)
        return _write(work, plan, numbers, found, on_rows, began)


class UnreadableError(DataError):
    """An episode of a source that cannot be read, where others may be."""

    def __init__(self, problem: str, remedy: str) -> None:
        """Names the option that leaves the episode out, unless the remedy does."""
        named = remedy if OPTION in remedy else f"{remedy} Or leave the episode out with {OPTION}."
        super().__init__(problem, named)


@dataclass(frozen=True)
class _Work:
    source: Source
    request: Request
    kinds: Mapping[Kind, int]

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
    def appearance(self) -> Appearance:
        """How the pictures of the source are stored."""
        return self.source.doubt.settled(self.request.color_order, self.request.flip)

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
                **asdict(self.appearance),
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
        named = request.env or plain_name(request.source.resolve().stem)
        names = sources_text({number: self.source.episodes[number] for number in _part(self.source, request)})
        origin = {} if names is None else {SOURCES: names}
        if self.source.action_names:
            origin[ACTION_NAMES] = action_names_text(self.source.action_names)
        clock = {} if self.fps is None else {"fps": self.fps}
        about = {
            "fit": request.fit,
            **asdict(self.appearance),
            "resample": request.resample,
            "converted_from": self.source.format,
            CONVERSION: self.settings,
        }
        return {**self.source.attributes, "env": named, **clock, **origin, **about}


def _write(work: _Work, plan: Plan, numbers: range, found: Begun, on_rows: OnRows, began: float) -> Report:
    request, left_out, footage = work.request, list(found.left_out), 0.0
    told = {kind.size for kind in work.kinds}
    with _writer(work, found) as writer:
        for place in range(found.done, len(numbers)):
            number = numbers[place]
            try:
                with _reading():
                    episode = work.source.read(number)
                    _check_rate(work, episode)
                    rows, columns = chosen_rows(episode, request.fps, request.resample)
                counts = {EPISODE: np.full(len(rows), number, np.int32), STEP: np.arange(len(rows), dtype=np.int32)}
                shown = functools.partial(on_rows, place)
                made = pieces(episode, rows, columns | counts, told, work.size, request.fit, work.appearance, shown)
                writer.write_pieces(_read(made))
            except UnreadableError as error:
                if not request.skip_damaged:
                    raise
                logger.warning("%s: left out", error.problem)
                left_out.append(LeftOut(number, work.source.episodes[number], error.problem))
                writer.leave_out(left_out[-1])
            else:
                footage += 0.0 if episode.times is None else float(episode.times[-1] - episode.times[0])
        episodes, frames = writer.num_episodes, writer.num_steps
    if not episodes:
        raise DataError(f"{request.source}: none of its {len(numbers)} episodes can be read", left_out[0].problem)
    if found.path != request.out:
        found.path.replace(request.out)
    on_rows(len(numbers), 0.0)
    clock = None if work.source.fps is None else footage
    named = tuple((one.name, one.problem) for one in left_out)
    return Report(str(request.out), plan, episodes, frames, named, clock, time.perf_counter() - began)


def _check_rate(work: _Work, episode: Episode) -> None:
    """Raises where all rows are taken, and this episode has another rate than the source is said to have."""
    usual, found = work.source.fps, rate_of_rows(work.source, episode)
    if work.request.fps is None and usual is not None and found is not None and differ(found, usual):
        raise DataError(
            f"{episode.name}: has {found:.4g} rows a second by their times, {work.source.fps_of} {usual:.4g}",
            f"Take as many of all, by their times: --fps {min(found, usual):.4g}, or less.",
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


def _first(source: Source, numbers: Sequence[int], request: Request) -> Episode:
    """The first episode; the first that can be read where damaged ones are left out."""
    for number in numbers if request.skip_damaged else ():
        with contextlib.suppress(DataError):
            return source.read(number)
    try:
        return source.read(numbers[0])
    except DataError as error:
        if len(numbers) == 1:
            raise
        raise UnreadableError(error.problem, error.remedy) from error


def _writer(work: _Work, found: Begun) -> Writer:
    if found.done:
        return Writer.append(found.path)
    return Writer.create(found.path, work.attributes, work.request.overwrite)


def _part(source: Source, request: Request) -> range:
    part, parts = request.part
    if not 1 <= part <= parts:
        raise DataError(f"part {part} of {parts}", "Parts are counted from 1, for example --part 2/4.")
    count = len(source.episodes)
    numbers = range(count * (part - 1) // parts, count * part // parts)
    if not numbers:
        raise DataError(f"{request.source}: {count} episodes are too few for {parts} parts", "Make fewer parts.")
    return numbers
