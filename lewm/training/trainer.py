"""The steps of a training and their metrics."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lewm.config import Config
from lewm.model.world_model import WorldModel
from lewm.ranks import Ranks
from lewm.training.batches import Batch, Batches
from lewm.training.compilation import Compiled, choose_compilation
from lewm.training.health import Health, HeldOut, measure
from lewm.training.objectives import Loss, Network, Objective
from lewm.training.schedule import learning_rate
from lewm.training.stages import section_of

log = logging.getLogger(__name__)

BEGUN = 0.1  # share of the steps: before it, latents are as flat as collapsed ones, as training has hardly begun


class Trainer:
    """Takes the steps of a training; it touches no files.

    Args:
        config: The whole configuration.
        steps: Steps of the whole training.
        done: Steps that `model`, `objective` and `optimizer` have already taken.
        model: The world model, on the device to train on.
        objective: The objective, on the same device.
        optimizer: The optimiser of the parameters of both.
        held_out: The data that health is measured on.
        on_latents: Whether the batches hold latents instead of frames.
        stage: The name of the stage that is trained; None for the last training.
    """

    def __init__(
        self,
        config: Config,
        steps: int,
        done: int,
        model: WorldModel,
        objective: Objective,
        optimizer: torch.optim.AdamW,
        held_out: HeldOut,
        on_latents: bool = False,
        stage: str | None = None,
    ) -> None:
        self.config, self.steps, self.model, self.objective = config, steps, model, objective
        self.optimizer, self.held_out, self.ranks = optimizer, held_out, Ranks()
        self.device = model.device
        self.statistics = model.block_statistics()
        self.compilation = choose_compilation(config.training.compile, self.device)
        log.info("encoder and predictor are %s", self.compilation)
        self.network: Network = Compiled.of(model) if self.compilation.on else model  # called in training mode
        if on_latents:
            self.network = OnLatents(self.network.predict)
        self.terms = tuple(config.objective.weights())
        self.sums = torch.zeros(len(self.terms) + 2, device=self.device)  # loss, its terms, gradient norm
        self.done, self.stage = done, stage
        self.seconds = 0.0  # what the steps took that are done, with what was prepared for them
        self.warned = False
        self.health: Health | None = None  # of latents that are not trained: it stays as it is

    def steps_left(
        self, reader: Batches, asked_to_stop: Callable[[], bool] = lambda: False
    ) -> Iterator[dict[str, Any]]:
        """Take the steps that are left; yields the metrics of every step at which something is logged or saved.

        Args:
            reader: Reads the batches; its next batch is that of step `done`.
            asked_to_stop: Called after each step; where it returns True, the metrics of that step are yielded too.

        Raises:
            FloatingPointError: the loss or its gradient was not finite at some step since it was last checked.
        """
        training = self.config.training
        since, mark, waited = self.done, time.perf_counter(), reader.wait_seconds
        while self.done < self.steps:
            self._step(next(reader))
            events = (training.log_every, training.evaluate_every, training.checkpoint_every)
            if not asked_to_stop() and self.done < self.steps and all(self.done % every for every in events):
                continue
            count, sums = self.done - since, self.sums.cpu().numpy()  # this waits for the device, which no step does
            if not np.isfinite(sums).all():  # some loss or gradient since the last check was not
                raise FloatingPointError(f"the loss is not finite at step {self.done} of {self.steps}")
            now = time.perf_counter()
            self.seconds += now - mark
            loss, *terms, gradient_norm = (sums / np.float32(count)).tolist()
            line: dict[str, Any] = {
                "step": self.done,
                "loss": loss,
                "terms": dict(zip(self.terms, terms, strict=True)),
                "gradient_norm": gradient_norm,
                "learning_rate": learning_rate(training, self.done - 1, self.steps),
                "seconds": self.seconds,
                "clips_per_second": count * training.batch_size / (now - mark),
                "waiting_for_data": (reader.wait_seconds - waited) / (now - mark),
            }
            if self.done % training.evaluate_every == 0 or self.done == self.steps:
                line["health"] = self.measure_health(self.done)
            yield line
            self.sums.zero_()
            since, mark, waited = self.done, time.perf_counter(), reader.wait_seconds

    def measure_health(self, step: int) -> Health:
        """Health on held-out data; warns, once, when the latents have collapsed.

        Latents that are not trained are measured once.
        """
        if self.health is not None:
            return self.health
        trained = self.config.model.trains_latents
        try:
            health = measure(self.model, self.held_out, self.config.training.seed, step if trained else 0)
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]  # the loss was finite, the step was not
            raise FloatingPointError(f"the latents are not finite after step {step} of {self.steps}") from error
        if not trained:
            self.health = health
        begun = step > self.steps * BEGUN
        if health.collapsed and begun and not self.warned:
            self.warned = True
            if trained:
                section = "objective" if self.stage is None else f"{section_of(self.stage)}.objective"
                advice = self.config.objective.against_collapse(section)
                if self.config.model.projector_hidden is not None and self.config.model.projector_norm == "none":
                    advice = f"set model.projector_norm to batch (now none), or {advice}"
            else:
                key = f"{section_of(self.stage)}.projector_hidden"
                advice = f"the encoder is frozen: use other weights, or train a projector ({key})"
            log.warning(
                "the latents are collapsing at step %d: mean standard deviation %.3g, effective rank %.1f of %d. "
                "The model no longer tells frames apart; %s.",
                step,
                health.std_mean,
                health.effective_rank,
                self.config.model.latent,
                advice,
            )
        return health

    def _step(self, batch: Batch) -> None:
        training = self.config.training
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(training, self.done, self.steps)
        frames, actions = batch.on(self.device)
        actions = self.statistics.normalize(actions)
        self.model.train()
        with seeded(training.seed, self.done, self.device):
            loss = self._loss(frames, actions)
            self.optimizer.zero_grad(set_to_none=True)
            loss.total.backward()
        parameters = chain(self.model.parameters(), self.objective.parameters())
        norm = torch.nn.utils.clip_grad_norm_(parameters, training.gradient_clip)
        self.optimizer.step()
        self.sums += torch.stack([loss.total, *(loss.terms[name] for name in self.terms), norm]).detach()
        self.done += 1

    def _loss(self, frames: Tensor, actions: Tensor) -> Loss:
        bf16 = self.config.training.precision == "bf16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=bf16):
            loss: Loss = self.objective(self.network, frames, actions, self.done, self.ranks)
        return loss


@dataclass(frozen=True, eq=False)
class OnLatents:
    """What the loss calls where batches hold latents.

    Attributes:
        predict: See `Network`.
    """

    predict: Callable[[Tensor, Tensor], Tensor]

    def encode(self, latents: Tensor) -> Tensor:
        """The latents themselves."""
        return latents


@contextlib.contextmanager
def seeded(seed: int, step: int, device: torch.device) -> Iterator[None]:
    """Makes dropout in the block a function of (seed, step); afterwards the global generators are as they were."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0] >> np.uint64(1)))
        yield
