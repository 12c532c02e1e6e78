"""Give every reader of the project inputs that are spoilt, and see that it reads them or refuses them in two lines.

    python tests/campaigns/fuzz.py --seed 0
    python tests/campaigns/fuzz.py --seed 0 --reader "run, model" --only 17

An input is at fault where anything but an error of the project comes of it: another exception, a crash, more memory or
time than _batch.py allows. It is kept, and its line says how to read it again. Exit 1 where there is one.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "MPLBACKEND": "agg"}

import _batch
import _read_data
import _read_formats
import _read_runs
import _read_words
import _scenes
from _batch import Outcome, Reader
from _seeds import Seeds

GROUPS = {
    "data": _read_data.readers,
    "formats": _read_formats.readers,
    "runs": _read_runs.readers,
    "words": _read_words.readers,
}


def main() -> int:
    """Run the campaign; its exit status."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--group", action="append", choices=sorted(GROUPS), help="only readers of this group")
    options.add_argument("--reader", action="append", help="only readers whose name begins with this")
    options.add_argument("--count", type=int, help="inputs a reader, in place of each one's own number")
    options.add_argument("--only", type=int, help="only the input of this number")
    given = options.parse_args()
    _scenes.import_all()
    folder = Path(tempfile.mkdtemp(prefix="lewm-fuzz-"))
    seeds = Seeds(folder / "seeds")
    os.environ["LEWM_HOME"] = str(folder / "home")
    every = [reader for group in given.group or GROUPS for reader in GROUPS[group](seeds)]
    chosen = [one for one in every if not given.reader or one.name.startswith(tuple(given.reader))]
    counts: dict[str, Counter[str]] = {}
    for reader in chosen:
        first = given.only or 0
        indices = range(first, first + 1) if given.only is not None else range(given.count or reader.count)
        counts[reader.name] = _read(reader, given.seed, indices, folder)
    _summary(counts)
    faults = sum(count[_batch.FAULT] for count in counts.values())
    if faults:
        _say(f"kept: {folder / 'faults'}")
    shutil.rmtree(folder / "seeds")
    if not faults:
        shutil.rmtree(folder)
    return int(faults > 0)


def _read(reader: Reader, seed: int, indices: range, folder: Path) -> Counter[str]:
    """The outcomes of a reader, counted; a line for each fault."""
    count: Counter[str] = Counter()
    place = folder / "at"
    place.mkdir(exist_ok=True)
    for outcome in _batch.outcomes(reader, seed, indices, place):
        count[outcome.kind] += 1
        if outcome.kind == _batch.FAULT:
            _keep(reader, seed, outcome, folder / "faults")
    return count


def _keep(reader: Reader, seed: int, outcome: Outcome, faults: Path) -> None:
    """Say what is at fault and how to see it again; its input is made again, as it was."""
    name = f"{reader.name}, {outcome.index}".replace(", ", "-").replace(" ", "-").replace("--", "-")
    again = f'--seed {seed} --reader "{reader.name}" --only {outcome.index}'
    _say(f"{reader.name}: {' '.join(outcome.said.split())} | {again}")
    kept = faults / name
    kept.mkdir(parents=True, exist_ok=True)
    (kept / "again.txt").write_text(f"{again}\n{outcome.said}\n")
    _batch.make_again(reader, seed, outcome.index, kept)


def _summary(counts: dict[str, Counter[str]]) -> None:
    kinds = (_batch.ACCEPTED, _batch.REFUSED, _batch.UNMADE, _batch.FAULT)
    _say(f"{'reader':24}{'inputs':>8}" + "".join(f"{kind:>10}" for kind in kinds))
    total: Counter[str] = Counter()
    for name, count in [*counts.items(), ("all", total)]:
        _say(f"{name:24}{count.total():8}" + "".join(f"{count[kind]:10}" for kind in kinds))
        total += count


def _say(line: str) -> None:
    print(line.encode("ascii", "backslashreplace").decode(), flush=True)


if __name__ == "__main__":
    sys.exit(main())
