"""The file of a curve: what `benchmarks/bench_worlds.py WORLD --curve` measured at moments of a training.

{
  "benchmark": "the course of training in push-t",
  "time": ..., "commit": ..., "cpu": ..., ...      machine and code, as in every benchmark's report
  "results": [                                     a curve for each training seed
    {
      "world": "push-t",
      "seed": 0,                                   of the training
      "options": ["--recipe", "small"],            of the training, as for `lewm train`
      "data": {"episodes": 1000, "frames": 131072, "policy": "expert"},
      "points": [                                  in the order of training
        {
          "stage": "encoder",                      the stage of the training; null: it has one stage only
          "step": 250,                             of that stage
          "train_seconds": 61.2,                   since training began, earlier stages included, measuring excluded
          "plan": {...},                           what `lewm plan --json` shows, but for "tasks": see `letters`
          "r2": {                                  of each quantity, on held-out episodes, as `lewm probe` measures
            "agent": {"linear": {"value": 0.97, "interval_95": [0.96, 0.98]}, "mlp": {...}}, ...
          },
          "effective_rank": 11.7,
          "distance_correlation": 0.74,            null: the world knows no distances
          "open_loop": {                           null: it is not known here what the world's tolerance is for
            "steps": 25,                           environment steps that are imagined, without looking
            "windows": 512,                        from held-out episodes; none counts as solved at its start
            "units": {"agent": "", "angle": "degrees"},  "": the world's own
            "imagined": {                          read by an MLP probe from latents imagined from true actions
              "median": {"agent": 8.8, ...},       median errors
              "solved": 0.4                        share of the windows where the error is within the tolerance
            },
            "seen": {...},                         read from the latents of the true frames: the probe's own error
            "still": {...}                         the error of the present state: nothing moves
          }
        }, ...
      ],
      "oracle": {                                  the same planner in the true simulator, by the true distance;
        "success_rate": 0.85, "successes": 17, "episodes": 20, "interval_95": [0.64, 0.95],
        "tasks": "1101...",                        the first of the points' tasks; null: it was left out
        "tasks_sha256": "...",
        "seconds_per_plan": 4.1,
        "planner": {...}                           its settings
      }
    }
  ]
}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lewm.errors import LewmError
from lewm.measures.intervals import Estimate
from lewm.reading import read_json

MOST_BYTES = 2**25  # size of a file; a point has some thousands
REMEDY = "Give a file that benchmarks/bench_worlds.py wrote with --curve."


@dataclass(frozen=True)
class Errors:
    """How far predicted quantities are from the truth.

    Attributes:
        median: Median error of each quantity, in its unit.
        solved: Share of the windows where the prediction is within what the world counts as solved.
    """

    median: Mapping[str, float]
    solved: float


@dataclass(frozen=True)
class OpenLoop:
    """What the model expects without looking, in the world's units.

    Attributes:
        steps: Environment steps from the start of a window to its end.
        windows: Number of windows, from held-out episodes; none counts as solved at its start.
        units: The unit of each quantity: "degrees", or "" for the world's own.
        imagined: Errors of the end, read from imagined latents: those of probe and dynamics.
        seen: Errors of the end, read from the latents of true frames: those of the probe alone.
        still: Errors of the start: nothing moves.
    """

    steps: int
    windows: int
    units: Mapping[str, str]
    imagined: Errors
    seen: Errors
    still: Errors


@dataclass(frozen=True)
class Point:
    """One moment of a training; the module's description says what is in the file."""

    stage: str | None
    step: int
    train_seconds: float
    plan: Mapping[str, Any]
    r2: Mapping[str, Mapping[str, Estimate]]
    effective_rank: float
    distance_correlation: float | None
    open_loop: OpenLoop | None


@dataclass(frozen=True)
class Curve:
    """The course of one training; the module's description says what is in the file."""

    world: str
    seed: int
    data: Mapping[str, Any]
    points: tuple[Point, ...]
    oracle: Mapping[str, Any] | None


def read_curves(path: Path) -> tuple[Curve, ...]:
    """The curves of a file, one for each training seed.

    Raises:
        LewmError: It cannot be read, or holds something else.
    """
    content = read_json(path, REMEDY, MOST_BYTES)
    results = content.get("results") if isinstance(content, dict) else None
    try:
        return TypeAdapter(tuple[Curve, ...]).validate_python(results)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, ("results", *fault["loc"])))
        raise LewmError(f"{path}: {where}: {fault['msg']}", REMEDY) from error


def letters(tasks: Sequence[Mapping[str, Any]]) -> str:
    """The outcomes that `lewm plan --json` shows, one letter a task: 1 where it was solved, else 0."""
    return "".join(str(int(task["planner"]["solved"])) for task in tasks)
