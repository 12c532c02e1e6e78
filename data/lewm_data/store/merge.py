"""Several datasets made into one, episode by episode.

Letters: P rows of a piece.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from lewm_data.errors import DataError
from lewm_data.store.dataset import Dataset
from lewm_data.store.left_out import CONVERSION
from lewm_data.store.pieces import pieces_of
from lewm_data.store.schema import DETAIL, EPISODE, Column
from lewm_data.store.source_names import SOURCES, sources_text
from lewm_data.store.writer import Writer

MERGED = "merged"  # the attribute of a file that says of what it was made
AGREE = ("env", "fps", "fit", "resample", DETAIL)  # attributes without which frames and actions mean something else


@dataclass(frozen=True)
class Merged:
    """A dataset made of others.

    Attributes:
        out: The dataset.
        episodes: Its episodes.
        frames: Its frames.
        left_out: Columns and attributes that not all have, or not alike, and that it therefore lacks.
    """

    out: str
    episodes: int
    frames: int
    left_out: tuple[str, ...]


def merge(
    sources: Sequence[Path], out: Path, overwrite: bool = False, on_share: Callable[[float], None] = lambda share: None
) -> Merged:
    """Makes one dataset of several, or goes on where the same was interrupted.

    The columns that all have are kept. The episodes are in the order of the sources; where two have the same
    `episode_idx`, all get new ones.

    Raises:
        DataError: Columns of one name differ, the sources disagree about what an action or a frame is, `out` exists and
            is another dataset, or something cannot be read or written.
    """
    if len(sources) < 2:
        raise DataError(f"{len(sources)} datasets, expected at least 2", "Name the datasets that become one.")
    if out.exists() and any(source.exists() and out.samefile(source) for source in sources):
        raise DataError(f"{out}: is one of the datasets that become one", "Name another file with --out.")
    with contextlib.ExitStack() as opened:
        datasets = [opened.enter_context(Dataset.open(source)) for source in sources]
        _check_whole(datasets)
        names, missing = _columns(datasets)
        attributes, unequal = _attributes(datasets)
        attributes[MERGED] = json.dumps([[one.path.name, one.num_episodes, one.num_steps] for one in datasets])
        numbers = _numbers(datasets)
        if (named := sources_text(_sources(numbers))) is not None:
            attributes[SOURCES] = named
        done = 0 if overwrite or not out.exists() else _done(out, attributes[MERGED], len(numbers))
        with Writer.append(out) if done else Writer.create(out, attributes, overwrite) as writer:
            for place in range(done, len(numbers)):
                dataset, episode, number = numbers[place]
                writer.write_pieces(_pieces(dataset, episode, number, names))
                on_share((place + 1) / len(numbers))
            episodes, frames = writer.num_episodes, writer.num_steps
    return Merged(str(out), episodes, frames, (*missing, *unequal))


def _check_whole(datasets: Sequence[Dataset]) -> None:
    """Raises where a dataset is there twice, or is a part of a conversion that is not finished."""
    seen: dict[str, Path] = {}
    for dataset in datasets:
        mark = dataset.fingerprint() if dataset.has_hashes else str(dataset.path.resolve())
        if mark in seen:
            raise DataError(f"{dataset.path}: has the same contents as {seen[mark]}", "Name each dataset once.")
        seen[mark] = dataset.path
        if left := unconverted(dataset):
            raise DataError(
                f"{dataset.path}: {left} episodes of its part are not converted yet",
                'Give its "lewm data convert" once more, which goes on.',
            )


def unconverted(dataset: Dataset) -> int:
    """How many episodes at the end of its part `lewm data convert` has not come to; 0 for other datasets."""
    try:
        settings = json.loads(dataset.attributes.get(CONVERSION, "null"))
        part, parts = settings["part"]
        end = int(settings["episodes"]) * part // parts
    except (ValueError, TypeError, KeyError, ZeroDivisionError):
        return 0
    if EPISODE not in dataset.columns:
        return 0
    return max(0, end - 1 - last_tried(dataset))


def last_tried(dataset: Dataset) -> int:
    """The last episode of its source to which a conversion has come, whether it could be read or not."""
    return max([int(dataset.column(EPISODE)[-1]), *(one.number for one in dataset.left_out)])


def _columns(datasets: Sequence[Dataset]) -> tuple[list[str], list[str]]:
    """The columns that all have, and words for those that only some have."""
    schemas: list[dict[str, Column]] = [{one.name: one for one in dataset.schema} for dataset in datasets]
    common = [name for name in schemas[0] if all(name in schema for schema in schemas)]
    for name in common:
        for dataset, schema in zip(datasets, schemas, strict=True):
            if schema[name] != schemas[0][name]:
                raise DataError(
                    f"{dataset.path}: column {schema[name]}, expected {schemas[0][name]} as in {datasets[0].path}",
                    "Only datasets whose columns are alike can become one.",
                )
    others = sorted({name for schema in schemas for name in schema} - set(common))
    return common, [f"column {name}" for name in others]


def _attributes(datasets: Sequence[Dataset]) -> tuple[dict[str, Any], list[str]]:
    """The attributes that all have alike, and words for the others."""
    first = datasets[0].attributes
    for name in AGREE:
        for dataset in datasets:
            if dataset.attributes.get(name) != first.get(name):
                raise DataError(
                    f"{dataset.path}: {name} is {dataset.attributes.get(name)!r:.80}, in {datasets[0].path} it is "
                    f"{first.get(name)!r:.80}",
                    "Only recordings of one world, made alike, can become one dataset. Convert those of one robot with "
                    "the same options, and one name for --env.",
                )
    alike = {name: value for name, value in first.items() if all(value == one.attributes.get(name) for one in datasets)}
    _check_order(datasets)
    others = sorted({name for one in datasets for name in one.attributes} - {*alike, SOURCES})
    alike.pop(SOURCES, None)  # every episode keeps its own
    return alike, [f"attribute {name}" for name in others]


def _check_order(datasets: Sequence[Dataset]) -> None:
    """Raises where the numbers of an action have the same names in another order."""
    firsts: dict[tuple[str, ...], Dataset] = {}
    for dataset in datasets:
        names = dataset.action_names
        first = firsts.setdefault(tuple(sorted(names)), dataset)
        if names != first.action_names:
            raise DataError(
                f"{dataset.path}: an action is {', '.join(names)}, in {first.path} it is "
                f"{', '.join(first.action_names)}",
                "Convert them with the columns in the same order.",
            )


def _sources(numbers: Sequence[tuple[Dataset, int, int | None]]) -> dict[int, str]:
    """The recordings by the new numbers; with the names of the files before them, where two are called alike."""
    found = {
        number: (dataset, dataset.source_of(episode)) for dataset, episode, number in numbers if number is not None
    }
    names = [name for _, name in found.values() if name is not None]
    alike = len(set(names)) < len(names)
    files = _told_apart([dataset.path for dataset, _ in found.values()])
    return {
        number: f"{files[dataset.path]}: {name}" if alike else name
        for number, (dataset, name) in found.items()
        if name is not None
    }


def _told_apart(paths: Sequence[Path]) -> dict[Path, str]:
    """The names of files without suffix, after as many of their folders as tell all of them apart.

    Where no folders do, as for "a.h5" and "a.hdf5", they have numbers.
    """
    parts = {path: path.absolute().with_suffix("").parts for path in dict.fromkeys(paths)}
    for count in range(1, max(map(len, parts.values()), default=0)):
        ends = {path: "/".join(one[-count:]) for path, one in parts.items()}
        if len(set(ends.values())) == len(ends):
            return ends
    return {path: f"{path.stem} ({number})" for number, path in enumerate(parts, 1)}


def _numbers(datasets: Sequence[Dataset]) -> list[tuple[Dataset, int, int | None]]:
    """Every episode: its dataset, its place there, and the number that it gets; None where none has numbers."""
    places = [(dataset, episode) for dataset in datasets for episode in range(dataset.num_episodes)]
    if not all(EPISODE in dataset.columns for dataset in datasets):
        return [(dataset, episode, None) for dataset, episode in places]
    found = [int(number) for dataset in datasets for number in dataset.column(EPISODE)[dataset.offsets]]
    unique = len(set(found)) == len(found)
    return [(*place, found[i] if unique else i) for i, place in enumerate(places)]


def _done(out: Path, merged: str, episodes: int) -> int:
    with Dataset.open(out) as dataset:
        if dataset.attributes.get(MERGED) != merged:
            raise DataError(
                f"{out}: exists already, and was not made of these", "Name another file with --out, or --overwrite it."
            )
        if dataset.num_episodes == episodes:
            raise DataError(f"{out}: is complete already", "Use it, or replace it with --overwrite.")
        return dataset.num_episodes


def _pieces(
    dataset: Dataset, episode: int, number: int | None, names: list[str]
) -> Iterator[dict[str, Shaped[np.ndarray, "P ..."]]]:
    """The rows of an episode with its new number, some at a time."""
    for piece in pieces_of(dataset, episode, names):
        if number is not None:
            piece[EPISODE] = np.full_like(piece[EPISODE], number)
        yield piece
