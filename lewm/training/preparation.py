"""What a training begins with: its model, its batches, and the data that health is measured on."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from lewm.checkpoints.frozen import take_frozen
from lewm.config import Config, line_of
from lewm.dataset_checks import check_action_width
from lewm.episode_split import split
from lewm.errors import LewmError
from lewm.measures.latents import sample_pairs
from lewm.memory import check_training
from lewm.model.assembly import build, frozen_count, parameter_count
from lewm.model.world_model import WorldModel
from lewm.training import record, state
from lewm.training.batches import Batches, copier
from lewm.training.frame_cache import FrameCache, FramesOnDevice, Setting, choose_cache
from lewm.training.health import HeldOut
from lewm.training.latent_batches import LatentBatches, latents_fit
from lewm.training.objectives import OBJECTIVES, Objective
from lewm.training.stages import section_of
from lewm.training.trainer import Trainer, seeded
from lewm.world_states import paths_of
from lewm_data.envs.registry import known_world
from lewm_data.store.action_bounds import action_bounds
from lewm_data.store.clips import Clips, action_statistics
from lewm_data.store.dataset import Dataset
from lewm_data.store.reader import BatchReader, check_batch_size

log = logging.getLogger(__name__)

HEALTH_FRAMES = 512  # held-out frames that health is measured on
HEALTH_PAIRS = 8192


def check_fits(config: Config, dataset: Dataset, device: torch.device, resume: bool) -> None:
    """Pass if a training of this configuration can begin on the dataset; it takes no memory for weights or frames.

    Raises:
        LewmError: actions or memory do not fit.
        DataError: there are not enough clips.
    """
    if not resume:  # a resumed run has been checked, and its --env cannot change
        check_action_width(dataset, config.env)
    if dataset.action_dim != config.model.action_dim:
        setting = f"Set it with --set model.action_dim={dataset.action_dim}."
        raise LewmError(
            f"{dataset.path}: actions have {dataset.action_dim} dimensions, the configuration expects "
            f"{config.model.action_dim}",
            "Give --data the dataset that the run was begun with." if resume else setting,
        )
    learnt, frozen = parameter_count(config.model), frozen_count(config.model)
    check_training(config, learnt, frozen, dataset.frame_size, device)
    check_batch_size(_clips(config, dataset), config.training.batch_size)


@contextlib.contextmanager
def prepared(
    config: Config,
    dataset: Dataset,
    directory: Path,
    stages: Path,
    stage: str | None,
    device: torch.device,
    resume: bool,
    cache: Setting,
    on_encoded: Callable[[float], None],
) -> Iterator[tuple[Trainer, Batches, FrameCache | None]]:
    """The trainer, which begins at the run's checkpoint where one is resumed, its batches, and where frames are kept.

    The last is None where nothing reads frames.

    Where the latents are not trained, and have room, they are computed here once, and the batches hold them.

    Args:
        config: The plain configuration of the training.
        dataset: The dataset, which fits it.
        directory: The run's directory.
        stages: The directory with the runs of the stages before it.
        stage: The name of the stage that is trained; None for the last training.
        device: Where to train.
        resume: Whether the run has begun.
        cache: Where the user wants frames to be kept.
        on_encoded: Called with the share of the frames whose latents are computed.

    Raises:
        LewmError: The frames do not fit where the user wants them.
    """
    training = config.training
    clips = _clips(config, dataset)
    if clips.too_short:
        log.warning(
            "%s: %d of the %d episodes to train on are shorter than a clip of %d steps, and are not used",
            dataset.path,
            clips.too_short,
            len(clips.episodes),
            clips.num_frames * clips.frameskip,
        )
    steps = training.steps or (training.epochs or 0) * (len(clips) // training.batch_size)
    model, objective = new_learners(config, dataset, clips.episodes)
    model, objective = model.to(device), objective.to(device)
    optimizer = state.make_optimizer(model, objective, training)
    with record.writing_into(directory):
        done = state.restore(directory, model, objective, optimizer, steps) if resume else 0
    if not done:
        take_frozen(model, stages, section_of(stage))
    on_latents = not config.model.trains_latents and done < steps
    if on_latents and not latents_fit(clips, config.model.latent, device):
        log.warning("the latents of all frames are too large for the memory: they are computed again at each step")
        on_latents = False
    held_out = _held_out_frames(config, dataset)
    trainer = Trainer(config, steps, done, model, objective, optimizer, held_out, on_latents, stage)
    order = (training.batch_size, training.seed)
    begun = time.perf_counter()  # the training's seconds count what is encoded or read before its steps
    if on_latents:
        if cache in ("ram", "device"):
            log.warning("--cache %s is not used: no frames are read, as their latents are computed once", cache)
        latents = LatentBatches(clips, model, *order, done, on_encoded)
        trainer.seconds = time.perf_counter() - begun
        yield trainer, latents, None
        return
    reads = (steps - done) * training.batch_size * clips.num_frames
    kept = choose_cache(cache, clips, model.device, reads)
    log.info("%s", kept)
    if kept.kind == "device":
        frames = FramesOnDevice(clips, model.device, *order, done, on_encoded)
        trainer.seconds = time.perf_counter() - begun
        yield trainer, frames, kept
        return
    if kept.kind == "ram":
        dataset.keep_frames()
    with BatchReader(clips, *order, copier(model.device), start_step=done) as reader:
        yield trainer, reader, kept


def new_learners(config: Config, dataset: Dataset, episodes: np.ndarray) -> tuple[WorldModel, Objective]:
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


def _clips(config: Config, dataset: Dataset) -> Clips:
    """The clips to train on."""
    episodes, _ = split(config.training, dataset.num_episodes)
    return Clips(dataset, config.model.predictor.history + 1, config.model.frameskip, episodes)


def _held_out_frames(config: Config, dataset: Dataset) -> HeldOut:
    _, episodes = split(config.training, dataset.num_episodes)
    rows = np.concatenate([dataset.offsets[e] + np.arange(dataset.lengths[e]) for e in episodes])
    chosen = np.random.default_rng(config.training.seed).permutation(rows)[:HEALTH_FRAMES]
    frames = dataset.frames(np.sort(chosen))
    paths = paths_of(dataset, config.env)
    if paths is None:
        return HeldOut(frames)
    states, path_distance = paths
    pairs = sample_pairs(states[np.sort(chosen)], path_distance, HEALTH_PAIRS, config.training.seed)
    return HeldOut(frames, *pairs)
