"""Training: dataset in, run directory out.

B clips, T frames a clip, A action-block width.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lewm.belongs import check_action_width, said_name
from lewm.checkpoints import run
from lewm.config import Config
from lewm.datasets import fingerprint_of
from lewm.errors import LewmError
from lewm.files import file_name, home
from lewm.memory import check_training
from lewm.model.frames import warn_if_stretched
from lewm.model.world_model import WorldModel, parameter_count
from lewm.states import paths_of
from lewm.surprise.reference import keep, of_training, stored
from lewm.training import directory, metrics, record, state
from lewm.training.actions import check_actions
from lewm.training.batches import Batch, copier
from lewm.training.compilation import Compilation, Compiled, choose_compilation
from lewm.training.health import Health, HeldOut, measure, sample_pairs
from lewm.training.interruption import Interruption
from lewm.training.objective import Loss, Network, objective
from lewm.training.schedule import learning_rate
from lewm_data.action_bounds import action_bounds
from lewm_data.clips import Clips, action_statistics, split_episodes
from lewm_data.envs.registry import known_world
from lewm_data.reader import BatchReader
from lewm_data.store import Dataset
from lewm_kernels import RandomDirections

log = logging.getLogger(__name__)

HEALTH_FRAMES = 512  # held-out frames that health is measured on
HEALTH_PAIRS = 8192
BEGUN = 0.1  # of the steps: before, latents are as flat as collapsed ones because training has hardly begun


@dataclass(frozen=True)
class Beginning:
    """What is decided when the first step is about to be taken.

    Attributes:
        run: The run's directory.
        step: Steps that are done already, by a checkpoint.
        steps: Of the whole training.
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
    """What a finished training left."""

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
    training = config.training
    with Interruption() as interruption, Dataset.open(data) as dataset:
        _check_fits(config, dataset)
        check_actions(dataset)
        check_training(config, parameter_count(config.model), dataset.frame_size, device)
        identity = run.DatasetIdentity(
            path=str(dataset.path.resolve()),
            fingerprint=fingerprint_of(dataset),
            frame_size=dataset.frame_size,
            episodes=dataset.num_episodes,
            env=said_name(dataset),
        )
        with (
            _directory(config, identity, out, resume) as chosen,
            record.ending(chosen, training, interruption, begun_here=not resume),
        ):
            trained_on, held_out = split_episodes(dataset.num_episodes, training.held_out, training.seed)
            clips = Clips(dataset, config.model.predictor.history + 1, config.model.frameskip, trained_on)
            steps = training.steps or (training.epochs or 0) * (len(clips) // training.batch_size)
            model = _new_model(config, dataset, trained_on).to(device)
            optimizer = state.make_optimizer(model, training)
            with record.writing_into(chosen):
                done = state.restore(chosen, model, optimizer, steps) if resume else 0
            trainer = _Trainer(config, steps, model, optimizer, _held_out_frames(config, dataset, held_out))
            health = None
            with BatchReader(
                clips, training.batch_size, training.seed, copier(model.device), start_step=done
            ) as reader:
                with record.writing_into(chosen):
                    if not resume:  # every fault of the settings has been found: nothing is left behind by them
                        run.write_config(chosen, config, identity)
                    metrics.truncate(chosen / run.METRICS, done)
                    if done:
                        state.renew_model(chosen, model, done)
                on_begin(Beginning(chosen, done, steps, resume, trainer.compilation))
                for line in trainer.steps_from(done, reader, interruption.asked):
                    step = line["step"]
                    if "health" in line:
                        health = line["health"]
                        line["health"] = health.as_dict()
                    with record.writing_into(chosen):
                        metrics.append(chosen / run.METRICS, line)
                    on_progress(Progress(step, steps, line))
                    if step % training.checkpoint_every == 0 or step == steps or interruption.asked():
                        with record.writing_into(chosen):
                            state.save(chosen, model, optimizer, step)
                    if interruption.asked():
                        break
            interruption.settle()
            if health is None:  # resumed after the last step
                health = trainer.measure_health(done)
            if stored(chosen) is None:
                reference = of_training(model.eval(), config, dataset)
                with record.writing_into(chosen):
                    keep(chosen, reference)
    return TrainReport(chosen, steps, time.perf_counter() - started, trainer.compilation, health)


class _Trainer:
    """The step loop; owns no files."""

    def __init__(
        self, config: Config, steps: int, model: WorldModel, optimizer: torch.optim.AdamW, held_out: HeldOut
    ) -> None:
        self.config, self.steps, self.model, self.optimizer, self.held_out = config, steps, model, optimizer, held_out
        self.device = model.device
        self.statistics = model.block_statistics()
        self.compilation = choose_compilation(config.training.compile, self.device)
        log.info("encoder and predictor are %s", self.compilation)
        self.network: Network = Compiled.of(model) if self.compilation.on else model  # in training mode
        self.knots = torch.linspace(0, config.objective.knot_max, config.objective.knots)  # read by the host
        self.sums = torch.zeros(4, device=self.device)  # loss, prediction, sigreg, gradient norm
        self.done = 0
        self.warned = False

    def steps_from(
        self, done: int, reader: BatchReader[Batch], asked_to_stop: Callable[[], bool] = lambda: False
    ) -> Iterator[dict[str, Any]]:
        """Train from step `done` on; yields the metrics of every step at which something is logged or saved.

        Args:
            done: Steps that are done.
            reader: Whose next batch is that of step `done`.
            asked_to_stop: Called after each step; where it says yes, the metrics of that step are yielded too.

        Raises:
            FloatingPointError: the loss or its gradient was not finite at some step since the last look.
        """
        training = self.config.training
        self.done = since = done
        mark, waited = time.perf_counter(), reader.wait_seconds
        while self.done < self.steps:
            self._step(next(reader))
            events = (training.log_every, training.evaluate_every, training.checkpoint_every)
            if not asked_to_stop() and self.done < self.steps and all(self.done % every for every in events):
                continue
            count, sums = self.done - since, self.sums.cpu().numpy()  # waits for the device, which no step does
            if not np.isfinite(sums).all():  # some loss or gradient since the last look, and so the weights
                raise FloatingPointError(f"the loss is not finite at step {self.done} of {self.steps}")
            now, means = time.perf_counter(), (sums / np.float32(count)).tolist()
            line: dict[str, Any] = {
                "step": self.done,
                **dict(zip(("loss", "prediction", "sigreg", "gradient_norm"), means, strict=True)),
                "learning_rate": learning_rate(training, self.done - 1, self.steps),
                "clips_per_second": count * training.batch_size / (now - mark),
                "waiting_for_data": (reader.wait_seconds - waited) / (now - mark),
            }
            if self.done % training.evaluate_every == 0 or self.done == self.steps:
                line["health"] = self.measure_health(self.done)
            yield line
            self.sums.zero_()
            since, mark, waited = self.done, time.perf_counter(), reader.wait_seconds

    def measure_health(self, step: int) -> Health:
        """Health on held-out data; warns in words, once, when the latents have collapsed."""
        health = measure(self.model, self.held_out, self._directions(step), self.knots)
        begun = step > self.steps * BEGUN
        if health.collapsed and begun and not self.warned:
            self.warned = True
            log.warning(
                "the latents are collapsing at step %d: mean standard deviation %.3g, effective rank %.1f of %d. "
                "The model no longer tells frames apart; raise --lambda (now %g).",
                step,
                health.std_mean,
                health.effective_rank,
                self.config.model.latent,
                self.config.objective.lambda_,
            )
        return health

    def _step(self, batch: Batch) -> None:
        training = self.config.training
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(training, self.done, self.steps)
        frames, actions = batch.on(self.device)
        actions = self.statistics.normalize(actions)
        self.model.train()
        with _seeded(training.seed, self.done, self.device):
            loss = self._loss(frames, actions)
            self.optimizer.zero_grad(set_to_none=True)
            loss.total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), training.gradient_clip)
        self.optimizer.step()
        self.sums += torch.stack([loss.total, loss.prediction, loss.sigreg, norm]).detach()
        self.done += 1

    def _loss(self, frames: Tensor, actions: Tensor) -> Loss:
        settings = self.config.objective
        bf16 = self.config.training.precision == "bf16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=bf16):
            return objective(self.network, frames, actions, self._directions(self.done), self.knots, settings.lambda_)

    def _directions(self, step: int) -> RandomDirections:
        return RandomDirections(self.config.training.seed, step, self.config.objective.directions)


@contextlib.contextmanager
def _seeded(seed: int, step: int, device: torch.device) -> Iterator[None]:
    """Dropout as a function of (seed, step); the global generators are left as they were."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0] >> np.uint64(1)))
        yield


def _new_model(config: Config, dataset: Dataset, episodes: np.ndarray) -> WorldModel:
    with _seeded(config.training.seed, 0, torch.device("cpu")):
        model = WorldModel(config.model)
    mean, std = action_statistics(dataset, episodes)
    model.action_mean.copy_(torch.from_numpy(np.asarray(mean)))
    model.action_std.copy_(torch.from_numpy(np.asarray(std)))
    low, high = action_bounds(dataset, known_world(config.env), episodes)
    model.action_low.copy_(torch.from_numpy(low))
    model.action_high.copy_(torch.from_numpy(high))
    return model


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


def _check_fits(config: Config, dataset: Dataset) -> None:
    check_action_width(dataset, config.env)
    if dataset.action_dim != config.model.action_dim:
        raise LewmError(
            f"{dataset.path}: actions have {dataset.action_dim} dimensions, the configuration expects "
            f"{config.model.action_dim}",
            f"Set it with --set model.action_dim={dataset.action_dim}.",
        )
    side = config.model.frame_size
    warn_if_stretched(*dataset.frame_size, (side, side))
