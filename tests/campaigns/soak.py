"""Kill commands at many moments, go on as their messages say, and compare the end with that of nobody disturbed.

    python tests/campaigns/soak.py --seed 0

Each command is killed at every file operation in turn, and at random times. Exit 1 where an end differs from the
undisturbed one or something is left over; what was found is then kept, and its folder is printed.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "MPLBACKEND": "agg"}

import _equal
import _scenes
import _victim
from _scenes import Scene
from _victim import Ended, Kill

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGINT)


@dataclass(frozen=True)
class Undisturbed:
    """The end to compare with, and how long and in how many operations it came about."""

    folder: Path
    ended: Ended


def main() -> int:
    """Run the campaign; its exit status."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--at-operations", type=int, default=0, help="the most kills of a command; 0 for all")
    options.add_argument("--at-times", type=int, default=8, help="kills of each command at random moments")
    options.add_argument("--scene", action="append", help="only this command, as it is called in the summary")
    given = options.parse_args()
    _scenes.import_all()
    folder = Path(tempfile.mkdtemp(prefix="lewm-soak-"))
    scenes = _scenes.scenes(_scenes.Prepared(folder / "base"))
    chosen = [scene for scene in scenes if not given.scene or scene.name in given.scene]
    counts: Counter[tuple[str, str]] = Counter()
    signals = itertools.islice(itertools.cycle(SIGNALS), given.seed % len(SIGNALS), None)
    faults = 0
    for scene in chosen:
        undisturbed, wrong = _undisturbed(scene, folder)
        if wrong:
            faults += 1
            _say(f"{scene.name}, nobody disturbed it: {wrong}")
        moments = _moments(scene, undisturbed.ended, given.seed, given.at_operations, given.at_times)
        for kill in (Kill(next(signals), *moment) for moment in moments):
            number = sum(counts.values()) + 1
            place = folder / f"{number:04d}"
            ended, wrong = _kill(scene, kill, place, undisturbed.folder)
            counts[kill.signal.name, "at a file operation" if kill.operation else "at a random time"] += 1
            _say(
                f"{number:04d} {scene.name}, {kill} {_doing(kill, undisturbed.ended)}: exit {ended}, {wrong or 'equal'}"
            )
            if wrong:
                faults += 1
            else:
                shutil.rmtree(place)
    _summary(counts, faults)
    if faults:
        _say(f"kept: {folder}")
    else:
        shutil.rmtree(folder)
    return int(faults > 0)


def _undisturbed(scene: Scene, folder: Path) -> tuple[Undisturbed, str]:
    place = folder / scene.name.replace(" ", "-")
    scene.begin(place)
    ended = _victim.run(scene.arguments(place), place)
    wrong = "" if ended.code == 0 else f"exit {ended.code}: {ended.said[-300:]}"
    try:
        wrong = wrong or "; ".join([*_equal.differences(place / "home", place / "home"), *ended.left])
    except Exception as error:
        wrong = f"{type(error).__name__}: {error}"
    return Undisturbed(place, ended), wrong


def _moments(
    scene: Scene, undisturbed: Ended, seed: int, most: int, times: int
) -> Iterator[tuple[int | None, float | None]]:
    """All operations, or at most `most` random ones; then `times` random seconds."""
    rng = random.Random(f"{seed} {scene.name}")
    count = len(undisturbed.operations)
    every = range(1, count + 1)
    for operation in every if not most or count <= most else sorted(rng.sample(every, most)):
        yield operation, None
    for _ in range(times):
        yield None, rng.uniform(0, undisturbed.seconds)


def _kill(scene: Scene, kill: Kill, place: Path, expected: Path) -> tuple[int | str, str]:
    """Kill a command and go on; how it ended, and what was wrong."""
    scene.begin(place)
    try:
        ended = _victim.run(scene.arguments(place), place, kill)
        wrong = _wrong_end(kill, ended)
        if kill.seconds is not None and ended.code != 0:  # the continued command is killed too
            _victim.run(scene.go_on(place)[0], place, replace(kill, signal=signal.SIGKILL))
        whole, how = scene.finish(place) if ended.code != 0 else (True, "")
        found = [] if whole else [f"no way on: {how}"]
        if whole:
            every = _equal.differences(place / "home", expected / "home")
            found = [one for one in every if one != f"left over: {scene.may_stay}"]
        return ended.code, "; ".join([*wrong, *found])
    except Exception as error:  # a command hangs, or one of many libraries cannot read a file
        return "?", f"{type(error).__name__}: {error}"


def _wrong_end(kill: Kill, ended: Ended) -> list[str]:
    """The faults of a command that is told to stop, apart from its files."""
    wrong = [f"left {one}" for one in ended.left]
    if "Traceback" in ended.said:
        wrong.append("a traceback")
    if kill.signal == signal.SIGKILL or ended.code == 0:  # it was done before the signal came
        return wrong
    if ended.code != 128 + kill.signal:
        wrong.append(f"exit {ended.code}, expected {128 + kill.signal}")
    if "error: interrupted" not in ended.said:
        wrong.append(f"it does not say what is kept: {ended.said[-300:]}")
    return wrong


def _doing(kill: Kill, undisturbed: Ended) -> str:
    return f"({undisturbed.operations[kill.operation - 1]})" if kill.operation else "of its time"


def _summary(counts: Counter[tuple[str, str]], faults: int) -> None:
    for (name, moment), count in sorted(counts.items()):
        _say(f"{name:8} {moment:20} {count:5}")
    _say(f"{sum(counts.values())} kills, {faults} faults")


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
