"""Copies of a training's checkpoints, each a run of its own, with the seconds that training took until then.

A training may have stages: then its run has the runs of earlier stages in its folder `stages`. Their last checkpoints
are copied too.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors

from lewm.checkpoints.run import CONFIG, MODEL, STAGES, read_config
from lewm_data.temporary import replacing

NOTE = "checkpoints.json"


@dataclass(frozen=True)
class Checkpoint:
    """A copied checkpoint.

    Attributes:
        stage: The stage of the training; None for its last or only one.
        step: Steps of the stage that are done.
        seconds: Seconds since training began, without those of the copying.
        run: The run that holds the copy.
    """

    stage: str | None
    step: int
    seconds: float
    run: Path


class Copies:
    """Copies checkpoints while they are written; `look` has to be called between any two of them.

    Args:
        run: The run that is about to be trained.
        steps: Steps whose checkpoints are copied, of the last or only stage.
        into: Where the copies are made.

    Attributes:
        checkpoints: The copies, in the order of training.
    """

    def __init__(self, run: Path, steps: Collection[int], into: Path) -> None:
        self.run, self.steps, self.into = run, steps, into
        self.checkpoints: list[Checkpoint] = []
        self._begun, self._copying = time.time(), 0.0

    def look(self) -> None:
        """Copies what has been written since the last call."""
        begun = time.time()
        for stage, run, steps in self._trainings():
            step = _step(run / MODEL)
            known = [(one.stage, one.step) for one in self.checkpoints]
            if step in steps and (stage, step) not in known:
                copy = self.into / f"{stage or 'last'}-{step}"
                copy.mkdir(parents=True)
                for name in (CONFIG, MODEL):
                    shutil.copy2(run / name, copy)
                written = (run / MODEL).stat().st_mtime  # nothing was copied between then and now
                self.checkpoints.append(Checkpoint(stage, step, written - self._begun - self._copying, copy))
        self._copying += time.time() - begun

    def note(self, of: Any) -> None:  # noqa: ANN401
        """Notes what was copied, and of which training, for `noted` to read."""
        rows = [(one.stage, one.step, one.seconds, one.run.name) for one in self.checkpoints]
        with replacing(self.into / NOTE) as temporary:
            temporary.write_text(json.dumps({"of": of, "checkpoints": rows}))

    def _trainings(self) -> Iterator[tuple[str | None, Path, Collection[int]]]:
        """Each stage that has begun, its run, and the steps whose checkpoints are copied."""
        folder = self.run / STAGES
        for run in folder.iterdir() if folder.is_dir() else ():
            if (run / CONFIG).exists():
                yield run.name, run, [read_config(run)[0].training.steps]
        yield None, self.run, self.steps


def noted(into: Path, of: Any) -> list[Checkpoint] | None:  # noqa: ANN401
    """The copies of a training that ended before; None where there are none, or they are of another training."""
    if not (into / NOTE).exists():
        return None
    note = json.loads((into / NOTE).read_text())
    rows = note["checkpoints"]
    return [Checkpoint(*row, into / name) for *row, name in rows] if note["of"] == of else None


def spaced(steps: int, count: int) -> list[int]:
    """At most `count` steps, each twice the one before, and the last; the first divides all but the last."""
    first = max(1, steps // 2 ** (count - 1))
    doubled = [first * 2**i for i in range(count - 1)]
    return [*(step for step in doubled if step < steps), steps]


def _step(model: Path) -> int | None:
    """The step of a checkpoint; None where there is none."""
    if not model.exists():
        return None
    with safetensors.safe_open(model, framework="pt") as file:
        return int(file.metadata()["step"])
