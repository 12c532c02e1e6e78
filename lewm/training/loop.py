"""Training: from a dataset to a run directory."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lewm.checkpoints import run
from lewm.checkpoints.frozen import settled, take_frozen
from lewm.config import Config, line_of
from lewm.dataset_checks import check_action_width, detail_of, said_name
from lewm.datasets import fingerprint_of
from lewm.errors import LewmError
from lewm.files import file_name, home
from lewm.measures.latents import sample_pairs
from lewm.memory import check_training
from lewm.model.assembly import build, frozen_count, parameter_count
from lewm.model.frames import warn_if_stretched
from lewm.model.world_model import WorldModel
from lewm.opened_run import open_run
from lewm.surprise.reference import keep, of_training, stored
from lewm.training import directory, metrics, record, state
from lewm.training.actions import check_actions
from lewm.training.batches import Batch, copier
from lewm.training.compilation import Compilation
from lewm.training.health import Health, HeldOut
from lewm.training.interruption import Interruption
from lewm.training.objectives import OBJECTIVES, Objective
from lewm.training.trainer import Trainer, seeded
from lewm.world_states import paths_of
from lewm_data.envs.registry import known_world
from lewm_data.store.action_bounds import action_bounds
from lewm_data.store.clips import Clips, action_statistics, split_episodes
from lewm_data.store.dataset import Dataset
from lewm_data.store.reader import BatchReader

log = logging.getLogger(__name__)

HEALTH_FRAMES = 512  # held-out frames that health is measured on
HEALTH_PAIRS = 8192


@dataclass(frozen=True)
class Beginning:
    """What is decided before the first step.

    Attributes:
        run: The run's directory.
        step: Steps that are done already, according to a checkpoint.
        steps: Steps of the whole training.
        resumed: Whether a run is continued.
        compilation: Whether encoder and predictor are compiled, and why.
    """

    run: Path
    step: int
    steps: int
    resumed: bool
    compilation: Compilation


@dataclass(frozen=True)
class Progress:
    """One logged step. `metrics` is the line written to metrics.jsonl."""

    step: int
    steps: int
    metrics: dict[str, Any]


@dataclass(frozen=True)
class TrainReport:
    """The result of a finished training."""

    run: Path
    steps: int
    seconds: float
    compilation: Compilation
    health: Health


def train(
    config: Config,
    data: Path,
    out: Path | None,
    device: torch.device,
    resume: bool = False,
    on_begin: Callable[[Beginning], None] = lambda _: None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> TrainReport:
    """Train a world model on a dataset.

    No other process can write the run meanwhile. Ctrl-C and SIGTERM end the training after the step at hand, with a
    checkpoint; a second one ends it at once.

    Args:
        config: The whole configuration.
        data: HDF5 dataset.
        out: Run directory; new or empty unless `resume`. None: the first of $LEWM_HOME/runs/ENV-RECIPE,
            ENV-RECIPE-2, ... that is free.
        device: Where to train.
        resume: Continue the run in `out` from its last checkpoint; on the CPU the result is bit-equal to that of a run
            never interrupted.
        on_begin: Called before the first step.
        on_progress: Called at every logged step.

    Raises:
        LewmError: the dataset does not fit the configuration, `out` holds a run already, is written by another process
            or cannot be written, or the loss is not finite. It says which checkpoint is kept, if any.
        Interrupted: a signal came; says what is kept, and how to go on.
    """
    started = time.perf_counter()
    config = config.model_copy(update={"model": settled(config.model)})
    with Interruption() as interruption, Dataset.open(data) as dataset:
        _check_fits(config, dataset, resume)
        check_actions(dataset)
        learnt, frozen = parameter_count(config.model), frozen_count(config.model)
        check_training(config, learnt, frozen, dataset.frame_size, device)
        identity = run.DatasetIdentity(
            path=str(dataset.path.resolve()),
            fingerprint=fingerprint_of(dataset),
            frame_size=dataset.frame_size,
            episodes=dataset.num_episodes,
            env=said_name(dataset),
            detail=detail_of(dataset, config.env),
        )
        with (
            _directory(config, identity, out, resume) as chosen,
            record.ending(chosen, config.training, interruption, begun_here=not resume),
        ):
            trainer, reader = _prepare(config, dataset, chosen, device, resume)
            with reader:
                # By now every fault of the settings has been found, so that none leaves files behind.
                _begin(chosen, trainer, None if resume else identity)
                on_begin(Beginning(chosen, trainer.done, trainer.steps, resume, trainer.compilation))
                health = _take_steps(chosen, trainer, reader, interruption, on_progress)
            interruption.settle()
            if health is None:  # resumed after the last step
                health = trainer.measure_health(trainer.done)
            if stored(open_run(chosen)) is None:
                reference = of_training(trainer.model.eval(), config, dataset)
                with record.writing_into(chosen):
                    keep(chosen, reference)
    return TrainReport(chosen, trainer.steps, time.perf_counter() - started, trainer.compilation, health)


def _prepare(
    config: Config, dataset: Dataset, chosen: Path, device: torch.device, resume: bool
) -> tuple[Trainer, BatchReader[Batch]]:
    """The trainer, which begins at the run's checkpoint where one is resumed, and the reader of its batches."""
    training = config.training
    trained_on, held_out = split_episodes(dataset.num_episodes, training.held_out, training.seed)
    clips = Clips(dataset, config.model.predictor.history + 1, config.model.frameskip, trained_on)
    if clips.too_short:
        log.warning(
            "%s: %d of the %d episodes to train on are shorter than a clip of %d steps, and are not used",
            dataset.path,
            clips.too_short,
            len(trained_on),
            clips.num_frames * clips.frameskip,
        )
    steps = training.steps or (training.epochs or 0) * (len(clips) // training.batch_size)
    model, objective = _new_learners(config, dataset, trained_on)
    model, objective = model.to(device), objective.to(device)
    optimizer = state.make_optimizer(model, objective, training)
    with record.writing_into(chosen):
        done = state.restore(chosen, model, objective, optimizer, steps) if resume else 0
    if not done:
        take_frozen(model)
    trainer = Trainer(config, steps, done, model, objective, optimizer, _held_out_frames(config, dataset, held_out))
    return trainer, BatchReader(clips, training.batch_size, training.seed, copier(model.device), start_step=done)


def _begin(chosen: Path, trainer: Trainer, identity: run.DatasetIdentity | None) -> None:
    """Make the files of the run agree with the steps that are done; a new run, which has an identity, begins here."""
    with record.writing_into(chosen):
        if identity is not None:
            run.write_config(chosen, trainer.config, identity)
        metrics.truncate(chosen / run.METRICS, trainer.done)
        if trainer.done:
            state.renew_model(chosen, trainer.model, trainer.done)


def _take_steps(
    chosen: Path,
    trainer: Trainer,
    reader: BatchReader[Batch],
    interruption: Interruption,
    on_progress: Callable[[Progress], None],
) -> Health | None:
    """Take the steps that are left, until a signal comes, with log and checkpoints; returns the last health."""
    health: Health | None = None
    for line in trainer.steps_left(reader, interruption.asked):
        step = line["step"]
        if "health" in line:
            health = line["health"]
            line["health"] = health.as_dict()
        with record.writing_into(chosen):
            metrics.append(chosen / run.METRICS, line)
        on_progress(Progress(step, trainer.steps, line))
        last = step == trainer.steps or interruption.asked()
        if last or step % trainer.config.training.checkpoint_every == 0:
            with record.writing_into(chosen):
                state.save(chosen, trainer.model, trainer.objective, trainer.optimizer, step)
        if interruption.asked():
            break
    return health


def _new_learners(config: Config, dataset: Dataset, episodes: np.ndarray) -> tuple[WorldModel, Objective]:
    """The model and the objective; the model does not depend on the objective."""
    seed = config.training.seed
    with seeded(seed, 0, torch.device("cpu")):
        model = build(config.model)
        objective = line_of(OBJECTIVES, "OBJECTIVES", config.objective)(config.objective, config.model, seed)
    mean, std = action_statistics(dataset, episodes)
    model.action_mean.copy_(torch.from_numpy(np.asarray(mean)))
    model.action_std.copy_(torch.from_numpy(np.asarray(std)))
    low, high = action_bounds(dataset, known_world(config.env), episodes)
    model.action_low.copy_(torch.from_numpy(low))
    model.action_high.copy_(torch.from_numpy(high))
    return model, objective


def _held_out_frames(config: Config, dataset: Dataset, episodes: np.ndarray) -> HeldOut:
    rows = np.concatenate([dataset.offsets[e] + np.arange(dataset.lengths[e]) for e in episodes])
    chosen = np.random.default_rng(config.training.seed).permutation(rows)[:HEALTH_FRAMES]
    frames = dataset.frames(np.sort(chosen))
    paths = paths_of(dataset, config.env)
    if paths is None:
        return HeldOut(frames)
    states, path_distance = paths
    pairs = sample_pairs(states[np.sort(chosen)], path_distance, HEALTH_PAIRS, config.training.seed)
    return HeldOut(frames, *pairs)


def _directory(
    config: Config, identity: run.DatasetIdentity, out: Path | None, resume: bool
) -> contextlib.AbstractContextManager[Path]:
    """The run's directory, locked."""
    if resume:
        assert out is not None
        return directory.resumed(out, config, identity)
    wanted = out or home() / "runs" / f"{file_name(config.env)}-{config.recipe}"
    return directory.claimed(wanted, numbered=out is None)


def _check_fits(config: Config, dataset: Dataset, resume: bool) -> None:
    if not resume:  # a resumed run has been checked, and its --env cannot change
        check_action_width(dataset, config.env)
    if dataset.action_dim != config.model.action_dim:
        setting = f"Set it with --set model.action_dim={dataset.action_dim}."
        raise LewmError(
            f"{dataset.path}: actions have {dataset.action_dim} dimensions, the configuration expects "
            f"{config.model.action_dim}",
            "Give --data the dataset that the run was begun with." if resume else setting,
        )
    side = config.model.frame_size
    warn_if_stretched(*dataset.frame_size, (side, side))
