"""The curve of a training: what the model has learnt at points of it, and an oracle beside."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from _checkpoints import Checkpoint, Copies, noted, spaced
from _work import once, short

from lewm.config import Config, resolve
from lewm.curves.open_loop import measure_open_loop
from lewm.evaluation.command import fitting_batch
from lewm.evaluation.from_dataset import draw_tasks
from lewm.evaluation.oracle import Oracle, run_oracle
from lewm.evaluation.report import Outcome, Success
from lewm.evaluation.tasks import HELD_OUT, UNSEEN
from lewm.opened_run import CPU, open_run
from lewm.probing.report import TRAINED
from lewm.training.loop import train
from lewm_data.envs.registry import world

SEED = 0  # of tasks, plans and probes: the default of the commands
PROBED_EPISODES = 300  # the default of `lewm probe`, so that both embed the same frames once


def checkpoints(config: Config, data: Path, home: Path, count: int) -> list[Checkpoint]:
    """Trains once; returns copies of the checkpoints at about `count` points, geometrically spaced.

    Where the same training has ended in this folder before, its copies are taken.
    """
    steps = config.training.steps
    assert steps is not None, "a curve needs a training of a fixed number of steps"
    points = spaced(steps, count)
    out, into = (home / f"{name}-{config.training.seed}" for name in ("training", "points"))
    # Every point but the last is a multiple of the first.
    often = resolve(config, None, {"training.checkpoint_every": points[0]})
    of = {"config": often.model_dump(mode="json", by_alias=True), "data": str(data), "size": data.stat().st_size}
    before = noted(into, of)
    if before is None:
        for folder in (out, into):
            shutil.rmtree(folder, ignore_errors=True)
        copies = Copies(out, points, into)
        train(often, data, out, CPU, on_progress=lambda progress: copies.look())
        copies.look()
        copies.note(of)
        before = copies.checkpoints
    return before


def point(home: Path, checkpoint: Checkpoint, tasks: int, multistage: bool) -> dict[str, Any]:
    """What the model is worth at a checkpoint, measured with a user's commands, and its open loop."""
    directory = str(checkpoint.run)
    name = f"{checkpoint.run.parent.name}-{checkpoint.run.name}"
    planned, _ = once(home, f"plan-{name}", "plan", "--run", directory, "--episodes", str(tasks))
    probed, _ = once(home, f"probe-{name}", "probe", "--run", directory)
    (space,) = [one for one in probed["spaces"] if one["features"] == TRAINED]
    scores = {one["property"]: one for one in probed["probed"] if one["features"] == TRAINED}
    open_loop = measure_open_loop(open_run(checkpoint.run), PROBED_EPISODES, SEED)
    return {
        "stage": checkpoint.stage or ("last" if multistage else None),
        "step": checkpoint.step,
        "train_seconds": checkpoint.seconds,
        "plan": short(planned),
        "r2": {name: {probe: one[probe]["r2"] for probe in ("linear", "mlp")} for name, one in scores.items()},
        "effective_rank": space["effective_rank"],
        "distance_correlation": space["distance_correlation"],
        "open_loop": None if open_loop is None else asdict(open_loop),
    }


def oracle(
    checkpoint: Checkpoint, tasks: int, settings: dict[str, Any], on_solved: Callable[[float, int], None]
) -> dict[str, Any]:
    """How the planner of a run does on the first of its tasks in the true simulator.

    Args:
        settings: Keys of the configuration that are other than the run's, such as `planning.planner.samples`.
        on_solved: Called with the share of the tasks that are done, and how many are solved.
    """
    run = open_run(checkpoint.run)
    place, config = world(run.config.env), resolve(run.config, None, settings)
    goal_offset, budget = config.evaluation.goal_offset, config.evaluation.budget
    with run.data() as data:
        drawn = draw_tasks(data.dataset, place, HELD_OUT, data.unseen, tasks, goal_offset, budget, SEED)
    agent = Oracle(run.model, config.planning, SEED, world=place)
    played, seconds = run_oracle(agent, drawn, fitting_batch(place, UNSEEN, budget), on_solved)
    success = Success.of(played)
    return {
        "success_rate": success.success_rate,
        "successes": success.successes,
        "episodes": success.episodes,
        "interval_95": success.interval_95,
        "tasks": "".join(str(int(bool(one.solved))) for one in Outcome.each(played)),
        "tasks_sha256": drawn.sha256(),
        "seconds_per_plan": seconds.per_plan,
        "planner": planner_of(config),
    }


def planner_of(config: Config) -> dict[str, Any]:
    """The settings with which an oracle plans."""
    return config.planning.model_dump(mode="json", by_alias=True, exclude={"cost", "precision"})
