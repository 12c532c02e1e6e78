"""What a conversion assumes, and says before it begins.

Letters: Y and X the sides of a picture.
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lewm_data.convert.request import Request
from lewm_data.convert.sampling import HOLD, MEAN, SUM, differ, rate_of
from lewm_data.convert.source import Episode, Source
from lewm_data.errors import DataError
from lewm_data.store.schema import ACTION
from lewm_data.video.fit import in_words, not_square, picture_size

MOST_LOOKED_AT = 300  # episodes: to decode the first picture of a video takes 10 to 40 ms
IN_BETWEEN = {HOLD: "the first action", MEAN: "the mean of the actions", SUM: "the sum of the actions"}


@dataclass(frozen=True)
class Kind:
    """Pictures that are alike.

    Attributes:
        size: Y and X as they are shown.
        said: A sentence where their pixels are not square.
    """

    size: tuple[int, int]
    said: tuple[str, ...] = ()


def kinds_of(source: Source, numbers: range) -> dict[Kind, int]:
    """The kinds of pictures that episodes have, and how many episodes have each.

    Where there are many episodes, only some are looked at, spread over all.
    """
    if source.picture is None:
        return {Kind(source.size): len(numbers)}
    found = Counter[Kind]()
    for number in numbers[:: -(-len(numbers) // MOST_LOOKED_AT)]:
        with contextlib.suppress(DataError):  # which is told when the episode is converted
            picture = source.picture(number)
            found[Kind(picture_size(picture), tuple(not_square(picture)))] += 1
    return found


def assumptions(
    request: Request,
    source: Source,
    episodes: int,
    first: Episode,
    kinds: Mapping[Kind, int],
    size: tuple[int, int],
) -> Iterator[str]:
    """What is assumed, a plain sentence each.

    Args:
        request: What to convert, and how.
        source: The source.
        episodes: How many of its episodes are converted.
        first: The first episode.
        kinds: See `kinds_of`.
        size: Y and X of the frames.
    """
    yield from source.assumptions
    yield from source.doubt.in_words(request.color_order, request.flip)
    yield from _pictures(kinds, size, request.fit, episodes)
    if len(first.columns[ACTION]) == first.rows:
        yield "as many actions as pictures: no picture follows the last one of an episode, which is left out"
    else:
        yield "one picture more than actions: the last picture of an episode has none"
    recorded, asked = rate_of_rows(source, first), request.fps
    if recorded is None:
        yield f"{asked:g} steps a second, as you say" if asked else "no clock: how fast it was recorded is not known"
    elif asked is None:
        yield f"{recorded:.4g} steps a second, as recorded"
    else:
        yield f"{asked:g} steps a second of {recorded:.4g}; {IN_BETWEEN[request.resample]} in between is taken"
        if source.fps is not None and differ(recorded, source.fps):
            yield f"rows go by their times, {recorded:.4g} a second; {source.fps_of} says {source.fps:.4g}"
        yield from _uneven(asked, recorded)
    part, parts = request.part
    if parts > 1:
        yield f"part {part} of {parts}: the rest goes into other files, which lewm data merge joins"


def rate_of_rows(source: Source, episode: Episode) -> float | None:
    """Rows a second of an episode by their times; what the source says where there are no two times."""
    timed = source.fps is not None and episode.times is not None and len(episode.times) > 1
    return rate_of(episode.times) if timed and episode.times is not None else source.fps


def _uneven(asked: float, recorded: float) -> Iterator[str]:
    """A sentence where steps at a rate are not equally far apart in the recording, and the nearest rates that are."""
    every = recorded / asked
    if every < 1 or not differ(every, float(round(every))):
        return
    fewer, more = math.floor(every), math.ceil(every)
    even = f"--fps {recorded / more:.4g} or {recorded / fewer:.4g}"
    yield f"the steps are uneven, {fewer} or {more} rows apart; {even} makes them even"


def _pictures(kinds: Mapping[Kind, int], size: tuple[int, int], fit: str, episodes: int) -> Iterator[str]:
    """What becomes of the pictures."""
    sizes = Counter[tuple[int, int]]()
    for kind, count in kinds.items():
        sizes[kind.size] += count
    if len(sizes) > 1:
        counted = (f"{x} x {y} in {count} episodes" for (y, x), count in sizes.items())
        some = f", of {sizes.total()} that were looked at" if episodes > MOST_LOOKED_AT else ""
        yield f"{len(sizes)} sizes of pictures: {', '.join(counted)}{some}"
    yield from dict.fromkeys(said for kind in kinds for said in kind.said)
    yield from (in_words(shown, size, fit) for shown in sizes)
