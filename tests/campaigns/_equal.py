"""Whether two folders hold the same: names, weights, datasets and reports, but for times."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from lewm.sealed import SealError, check_sealed

STAMP = re.compile(r"\d{8}-\d{6}(-\d+)?")  # the time in a report's name: two runs of a command differ in it
TIMES = re.compile(r"(train_)?seconds.*|made|ratio")
HOME = re.compile(r"/[^' ]*/home/")  # where a scene was played
UNFINISHED = re.compile(r"\..*|.*\.(tmp|partial|lock)")
PREVIOUS = re.compile(r".*-previous\.safetensors")  # the checkpoint before the last
REPORT = re.compile(r"[a-z-]+-\d{8}-\d{6}(-\d+)?")


def differences(found: Path, expected: Path) -> Iterator[str]:
    """The differences between `found` and `expected`, a line each, files that are left over included."""
    names, wanted = _names(found), _names(expected)
    left = {names[name] for name in set(names) - set(wanted)} | set(_unfinished(found))
    yield from (f"left over: {name}" for name in sorted(left))
    yield from (f"missing: {name}" for name in sorted(set(wanted) - set(names)))
    for name in sorted(set(names) & set(wanted)):
        mine, other = found / names[name], expected / wanted[name]
        compare = COMPARISONS.get(mine.suffix)
        if UNFINISHED.fullmatch(mine.name):  # said above, and not whole
            continue
        if mine.is_file() and compare is not None:
            yield from (f"{names[name]}: {fault}" for fault in compare(mine, other))
        elif mine.is_file() and not mine.stat().st_size:
            yield f"{names[name]}: is empty"


def _names(folder: Path) -> dict[str, str]:
    """Everything below a folder, by its path without the time in it."""
    paths = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    return {STAMP.sub("TIME", path): path for path in paths}


def _unfinished(folder: Path) -> Iterator[str]:
    """Files that no command may leave when it ends, even where another command left them too."""
    for path in folder.rglob("*"):
        if UNFINISHED.fullmatch(path.name):
            yield str(path.relative_to(folder))
        if path.is_dir() and REPORT.fullmatch(path.name) and not path.with_suffix(".json").is_file():
            yield f"{path.relative_to(folder)}, the pictures of no report"


def _tensors(found: Path, expected: Path) -> Iterator[str]:
    """Bit by bit, so that a NaN equals itself and 0 does not equal -0."""
    mine, other = safetensors.torch.load_file(found), safetensors.torch.load_file(expected)
    about, wanted = _metadata(found), _metadata(expected)
    if PREVIOUS.fullmatch(found.name) and about["step"] != wanted["step"]:
        return  # a command that is told to stop leaves a checkpoint of the step that it is at
    yield from (f"other {name}" for name in _unequal(about, wanted))
    if set(mine) != set(other):
        yield f"other tensors: {sorted(set(mine) ^ set(other))}"
    for name in sorted(set(mine) & set(other)):
        one, two = (tensor.flatten().view(torch.uint8) for tensor in (mine[name], other[name]))
        if mine[name].dtype != other[name].dtype or not torch.equal(one, two):
            yield f"{name} differs"


def _metadata(path: Path) -> dict[str, str]:
    with safetensors.safe_open(path, framework="pt") as file:
        return file.metadata()


def _metrics(found: Path, expected: Path) -> Iterator[str]:
    mine, other = ([json.loads(line)["step"] for line in path.read_text().splitlines()] for path in (found, expected))
    if mine != sorted(set(mine)):
        yield f"steps do not increase: {mine}"
    if not set(other) <= set(mine):
        yield f"no lines of the steps {sorted(set(other) - set(mine))}"


def _dataset(found: Path, expected: Path) -> Iterator[str]:
    import h5py

    from lewm_data.store.dataset import Dataset

    with Dataset.open(found) as mine, Dataset.open(expected) as other:
        if mine.interrupted:
            yield "was not closed"
        if mine.fingerprint() != other.fingerprint():
            yield "another fingerprint"
    with h5py.File(found) as one, h5py.File(expected) as two:
        yield from (f"other {name}" for name in _unequal(dict(one.attrs), dict(two.attrs)))
        for name in sorted(set(one) | set(two)):
            if name not in one or name not in two or one[name][:].tobytes() != two[name][:].tobytes():
                yield f"column {name} differs"


def _json(found: Path, expected: Path) -> Iterator[str]:
    text = found.read_text()
    try:
        mine = json.loads(text)
    except ValueError as error:
        yield f"is not whole: {error}"
        return
    other = json.loads(expected.read_text())
    if REPORT.fullmatch(found.stem) or "compare" in found.parts:
        if "sha256" in mine or REPORT.fullmatch(found.stem):
            try:
                check_sealed(mine, text)
            except SealError as error:
                yield str(error)
        # The checksum is over the times too; a decoder that was trained before a kill is used again
        mine, other = ({**one, "sha256": None, "trained": None} for one in (mine, other))
    yield from (f"other {name}" for name in _unequal(mine, other))


def _unequal(one: Mapping[str, Any], two: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(set(one) | set(two)):
        if TIMES.fullmatch(name):
            continue
        first, second = one.get(name), two.get(name)
        if isinstance(first, list) and isinstance(second, list):
            first, second = dict(enumerate(first)), dict(enumerate(second))
            first, second = ({str(place): one for place, one in each.items()} for each in (first, second))
        if isinstance(first, dict) and isinstance(second, dict):
            yield from (f"{name}.{deeper}" for deeper in _unequal(first, second))
        elif _plain(first) != _plain(second):
            yield name


def _plain(value: object) -> str:
    """A value without the times and the homes that are in the names of files."""
    return HOME.sub("HOME/", STAMP.sub("TIME", repr(value)))


def _page(found: Path, expected: Path) -> Iterator[str]:
    if not found.read_text().rstrip().endswith("</html>"):
        yield "is not whole"


COMPARISONS: dict[str, Callable[[Path, Path], Iterator[str]]] = {
    ".safetensors": _tensors,
    ".jsonl": _metrics,
    ".h5": _dataset,
    ".json": _json,
    ".html": _page,
}
