"""Training: from a dataset to a run directory."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lewm.checkpoints import run
from lewm.config import Config
from lewm.datasets import identity_of
from lewm.files import file_name, home
from lewm.model.frames import warn_if_reshaped
from lewm.opened_run import open_run
from lewm.surprise.reference import keep, of_training, stored
from lewm.training import directory, embeddings, metrics, record, stages, state
from lewm.training.actions import check_actions
from lewm.training.batches import Batches
from lewm.training.compilation import Compilation
from lewm.training.frame_cache import FrameCache, Setting
from lewm.training.health import Health
from lewm.training.interruption import Interruption
from lewm.training.preparation import check_fits, prepared
from lewm.training.trainer import Trainer
from lewm_data.store.dataset import Dataset


@dataclass(frozen=True)
class Beginning:
    """What is decided before the first step of a training.

    Attributes:
        run: The directory of this training.
        stage: The stage's name; None for the last training.
        number: Which training of the run it is, from 1.
        trainings: How many the run has: its stages and the last one.
        step: Steps that are done already, according to a checkpoint.
        steps: Steps of the whole training.
        resumed: Whether a run is continued.
        compilation: Whether encoder and predictor are compiled, and why.
        cache: Where frames are kept, and why; None where none are read.
    """

    run: Path
    stage: str | None
    number: int
    trainings: int
    step: int
    steps: int
    resumed: bool
    compilation: Compilation
    cache: FrameCache | None


@dataclass(frozen=True)
class Progress:
    """One logged step. `metrics` is the line written to metrics.jsonl."""

    step: int
    steps: int
    metrics: dict[str, Any]


@dataclass(frozen=True)
class TrainReport:
    """The result of a finished training.

    Attributes:
        run: The run's directory.
        steps: Steps of the last training.
        seconds: What all of it took here.
        stages: What each stage took of it that was not finished before.
        compilation: Whether encoder and predictor were compiled, and why.
        health: The health of the latents at the end.
    """

    run: Path
    steps: int
    seconds: float
    stages: dict[str, float]
    compilation: Compilation
    health: Health


@dataclass(frozen=True)
class _Shared:
    """What all trainings of a run have in common."""

    run: Path
    config: Config
    dataset: Dataset
    identity: run.DatasetIdentity
    device: torch.device
    cache: Setting
    interruption: Interruption
    on_begin: Callable[[Beginning], None]
    on_encoded: Callable[[float], None]
    on_progress: Callable[[Progress], None]


def train(
    config: Config,
    data: Path,
    out: Path | None,
    device: torch.device,
    resume: bool = False,
    cache: Setting = "auto",
    on_begin: Callable[[Beginning], None] = lambda _: None,
    on_encoded: Callable[[float], None] = lambda _: None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> TrainReport:
    """Train a world model on a dataset: first the stages, each a run in RUN/stages/NAME, then the model itself.

    No other process can write the run meanwhile. Ctrl-C and SIGTERM end the training after the step at hand, with a
    checkpoint; a second one ends it at once.

    Args:
        config: The whole configuration.
        data: HDF5 dataset.
        out: Run directory; new or empty unless `resume`. None: the first of $LEWM_HOME/runs/ENV-RECIPE,
            ENV-RECIPE-2, ... that is free.
        device: Where to train.
        resume: Continue the run in `out` from its last checkpoint, in whichever stage that is; on the CPU the result is
            bit-equal to that of a run never interrupted.
        cache: Where frames stay between the steps: "off" in the file, "ram" in memory, "device" on the device, "auto"
            where `choose_cache` says. The result is the same.
        on_begin: Called before the first step of each stage, and of the last training.
        on_encoded: Called with the share of the frames that are read, or whose latents are computed, before training.
        on_progress: Called at every logged step.

    Raises:
        LewmError: the dataset does not fit the configuration, `out` holds a run already, is written by another process
            or cannot be written, or the loss is not finite. It says which checkpoint is kept, if any.
        Interrupted: a signal came; says what is kept, and how to go on.
    """
    started = time.perf_counter()
    if resume and out is not None:
        directory.refuse_imported(out)
    config = stages.settled_config(config)
    with Interruption() as interruption, Dataset.open(data) as dataset:
        check_actions(dataset)  # first: clips hold actions as float32
        before = {name: stage.config(config) for name, stage in config.stages.items()}
        for one in (*before.values(), config):
            check_fits(one, dataset, device, resume)
        warn_if_reshaped(*dataset.frame_size, (config.model.frame_size,) * 2, config.model.fit)
        identity = identity_of(dataset, config.env)
        with (
            _directory(config, identity, out, resume) as chosen,
            record.ending(chosen, config, interruption, begun_here=not resume),
        ):
            callbacks = (on_begin, on_encoded, on_progress)
            shared = _Shared(chosen, config, dataset, identity, device, cache, interruption, *callbacks)
            seconds: dict[str, float] = {}
            if state.kept_step(chosen) is None:  # else the last training has begun, and needs no stage any more
                for number, (name, of_stage) in enumerate(before.items(), 1):
                    _train_stage(shared, name, number, of_stage, seconds)
            trainer, health = _train(shared, config, chosen, None, len(before) + 1, resume)
    return TrainReport(
        run=chosen,
        steps=trainer.steps,
        seconds=time.perf_counter() - started,
        stages=seconds,
        compilation=trainer.compilation,
        health=health,
    )


def _train_stage(shared: _Shared, name: str, number: int, config: Config, seconds: dict[str, float]) -> None:
    """Train a stage, or what is left of it; notes the seconds that it took."""
    started = time.perf_counter()
    chosen = stages.directory_of(shared.run, name)
    resume = (chosen / run.CONFIG).exists()
    steps = config.training.steps
    assert steps is not None
    if resume and state.is_finished(chosen, steps):
        return
    with (
        _directory(config, shared.identity, chosen, resume),
        record.ending(chosen, config, shared.interruption, begun_here=not resume, stage=name),
    ):
        _train(shared, config, chosen, name, number, resume)
    seconds[name] = time.perf_counter() - started


def _train(
    shared: _Shared, config: Config, chosen: Path, stage: str | None, number: int, resume: bool
) -> tuple[Trainer, Health]:
    """Train one model, from the first or the last checkpoint on; returns what it ends with."""
    inputs = (config, shared.dataset, chosen, shared.run / run.STAGES, stage, shared.device, resume)
    with prepared(*inputs, shared.cache, shared.on_encoded) as (trainer, batches, cache):
        # By now every fault of the settings has been found, so that none leaves files behind.
        _begin(shared, chosen, trainer)
        shared.on_begin(
            Beginning(
                run=chosen,
                stage=stage,
                number=number,
                trainings=len(shared.config.stages) + 1,
                step=trainer.done,
                steps=trainer.steps,
                resumed=resume,
                compilation=trainer.compilation,
                cache=cache,
            )
        )
        health = _take_steps(shared, chosen, trainer, batches)
    shared.interruption.settle()
    if health is None:  # resumed after the last step
        health = trainer.measure_health(trainer.done)
    if stage is None and stored(open_run(chosen)) is None:  # nobody asks a stage what is normal
        reference = of_training(trainer.model.eval(), config, shared.dataset)
        with record.writing_into(chosen):
            keep(chosen, reference)
    if stage is None and not embeddings.stored(chosen):
        measured = embeddings.of_training(trainer.model.eval(), config, shared.dataset)
        with record.writing_into(chosen):
            embeddings.keep(chosen, measured)
    return trainer, health


def _begin(shared: _Shared, chosen: Path, trainer: Trainer) -> None:
    """Make the files agree with the steps that are done; a new run and its new stage begin here."""
    with record.writing_into(chosen):
        for place, config in ((shared.run, shared.config), (chosen, trainer.config)):
            if not (place / run.CONFIG).exists():
                run.write_config(place, config, shared.identity)
        metrics.truncate(chosen / run.METRICS, trainer.done)
        trainer.seconds += metrics.seconds(chosen / run.METRICS)
        if trainer.done:
            state.renew_model(chosen, trainer.model, trainer.done)


def _take_steps(shared: _Shared, chosen: Path, trainer: Trainer, batches: Batches) -> Health | None:
    """Take the steps that are left, until a signal comes, with log and checkpoints; returns the last health."""
    health: Health | None = None
    asked = shared.interruption.asked
    for line in trainer.steps_left(batches, asked):
        step = line["step"]
        if "health" in line:
            health = line["health"]
            line["health"] = health.as_dict()
        with record.writing_into(chosen):
            metrics.append(chosen / run.METRICS, line)
        shared.on_progress(Progress(step, trainer.steps, line))
        last = step == trainer.steps or asked()
        if last or step % trainer.config.training.checkpoint_every == 0:
            with record.writing_into(chosen):
                state.save(chosen, trainer.model, trainer.objective, trainer.optimizer, step)
        if asked():
            break
    return health


def _directory(
    config: Config, identity: run.DatasetIdentity, out: Path | None, resume: bool
) -> contextlib.AbstractContextManager[Path]:
    """The directory of a run or a stage, locked."""
    if resume:
        assert out is not None
        return directory.resumed(out, config, identity)
    wanted = out or home() / "runs" / f"{file_name(config.env)}-{config.recipe}"
    return directory.claimed(wanted, numbered=out is None)
