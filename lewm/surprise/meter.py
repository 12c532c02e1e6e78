"""The surprise of each frame of a video: the squared error of its predicted embedding.

Frame t is predicted from frames t - F, t - 2F ... and the action blocks between them, so every frame is scored, not
only every F-th.

n frames that come together, B frames scored together, D latent width, L context length, P = L - 1 past blocks, S
candidates, E best candidates, R new candidates, A action-block width, F frameskip, a = A / F action width.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lewm.config import MOST_FRAMESKIP
from lewm.errors import LewmError
from lewm.model.world_model import WorldModel
from lewm.planning.dynamics import Dynamics, dynamics_of
from lewm_kernels import normal, uniform

# The search for the action that explains a frame best. It first tries blocks that were really executed. Then, twice, it
# draws from a Gaussian fitted to the best blocks so far, within the range of executed blocks: no impossible action may
# explain a teleport. For the same reason, where actions are choices, the best blocks are recombined instead.
CANDIDATES = 128
ROUNDS = 2
REFINED = 32
ELITES = 8


@dataclass(frozen=True)
class ActionSearch:
    """The least surprise over actions.

    Attributes:
        blocks: Executed action blocks, normalised, in random order.
        seed: Seed of the refinement; with the number of the frame it keys the noise.
    """

    blocks: Float[Tensor, "K A"]
    seed: int

    @cached_property
    def are_choices(self) -> bool:
        """Whether no number of a block has more than two values, as in one-hot actions."""
        low, high = self.blocks.aminmax(dim=0)
        return bool(((self.blocks == low) | (self.blocks == high)).all())

    def __call__(
        self,
        dynamics: Dynamics,
        frameskip: int,
        context: Float[Tensor, "B L D"],
        past: Float[Tensor, "B P A"] | None,
        target: Float[Tensor, "B D"],
        frames: Int64[Tensor, " B"],
    ) -> tuple[Float[Tensor, " B"], Float[Tensor, "B A"]]:
        """The least error that an action block leads to, and that block.

        Args:
            dynamics: Predicts what an action leads to.
            frameskip: Environment steps a block.
            context: Latents that the frames are predicted from.
            past: Blocks between these latents.
            target: Latents of the frames.
            frames: Numbers of the frames.
        """
        together = max(1, dynamics.rows(1) // CANDIDATES)
        parts = []
        for begin in range(0, len(target), together):
            some = slice(begin, begin + together)
            before = None if past is None else past[some]
            parts.append(self._search(dynamics, frameskip, context[some], before, target[some], frames[some]))
        errors, blocks = zip(*parts, strict=True)
        return torch.cat(errors), torch.cat(blocks)

    def _search(
        self, dynamics: Dynamics, frameskip: int, context: Tensor, past: Tensor | None, target: Tensor, frames: Tensor
    ) -> tuple[Tensor, Tensor]:
        first = self.blocks[:CANDIDATES].expand(len(target), -1, -1)  # (B, S, A)
        best, errors = _best(first, _errors(dynamics, context, past, first, target))
        for refinement in range(ROUNDS):
            key = frames.new_tensor([refinement, 0]).expand(len(frames), 2)
            streams = torch.cat([frames[:, None], key], dim=1)  # (B, 3)
            refined = self._recombined(best, frameskip, streams) if self.are_choices else self._near(best, streams)
            candidates = torch.cat([best, refined], dim=1)
            tried = torch.cat([errors, _errors(dynamics, context, past, refined, target)], dim=1)
            best, errors = _best(candidates, tried)
        return errors[:, 0], best[:, 0]

    def _near(self, best: Float[Tensor, "B E A"], streams: Int64[Tensor, "B 3"]) -> Float[Tensor, "B R A"]:
        """New candidates from the Gaussian fitted to `best`."""
        # Where there is only one executed block, there is a single best candidate, which has no spread.
        std, mean = torch.std_mean(best, dim=1, keepdim=True, correction=0)
        noise = normal(self.seed, streams, REFINED * best.shape[2]).unflatten(1, (REFINED, -1))
        return (mean + std * noise).clamp(self.blocks.amin(dim=0), self.blocks.amax(dim=0))

    def _recombined(
        self, best: Float[Tensor, "B E A"], frameskip: int, streams: Int64[Tensor, "B 3"]
    ) -> Float[Tensor, "B R A"]:
        """New candidates that take each environment step's action from any of `best`."""
        whose = (uniform(self.seed, streams, REFINED * frameskip) * best.shape[1]).long().unflatten(1, (REFINED, -1))
        steps = best.unflatten(2, (frameskip, -1))  # (B, E, F, a)
        return steps.gather(1, whose[..., None].expand(-1, -1, -1, steps.shape[3])).flatten(2)


def _errors(
    dynamics: Dynamics, context: Tensor, past: Tensor | None, candidates: Tensor, target: Tensor
) -> Float[Tensor, "B S"]:
    reached = dynamics(context, candidates[:, :, None], past)[:, :, 0]  # (B, S, D)
    return (reached - target[:, None]).square().mean(dim=-1)


def _best(candidates: Float[Tensor, "B S A"], errors: Float[Tensor, "B S"]) -> tuple[Tensor, Tensor]:
    lowest, which = errors.topk(min(ELITES, errors.shape[1]), dim=1, largest=False)
    return candidates.gather(1, which[:, :, None].expand(-1, -1, candidates.shape[2])), lowest


def check_frameskip(frameskip: int) -> None:
    """Raises unless model steps can be so many frames apart.

    Raises:
        LewmError: It is not from 1 to `MOST_FRAMESKIP`.
    """
    if not 1 <= frameskip <= MOST_FRAMESKIP:
        raise LewmError(
            f"--frameskip is {frameskip}, expected 1 to {MOST_FRAMESKIP}", "Leave it out to take the run's own."
        )


class Meter:
    """Scores the frames of one video as they come, and holds no more of them than the predictor sees.

    A search packs the predictor for the first score: a model that is trained further needs another meter.

    Args:
        model: The world model, in eval mode.
        frameskip: F, frames from one model step to the next.
        actions: Row t is the normalised block that leads to frame t from F frames earlier; or a search that finds it.
    """

    def __init__(self, model: WorldModel, frameskip: int, actions: Float[Tensor, "T A"] | ActionSearch) -> None:
        self.model, self.frameskip, self.actions = model, frameskip, actions
        self.seen = 0
        # Latents and blocks of the last `warm_up` frames seen.
        self._latents = torch.empty(0, model.config.latent, device=model.device)
        self._blocks = torch.empty(0, model.config.action_block, device=model.device)

    @property
    def warm_up(self) -> int:
        """Frames at the beginning that get no score, because their context is not complete."""
        return self.frameskip * self.model.history

    @cached_property
    def _dynamics(self) -> Dynamics:
        return dynamics_of(self.model)

    @torch.inference_mode()
    def push(self, latents: Float[Tensor, "n D"]) -> Float[Tensor, " n"]:
        """Surprise of the next frames: the mean squared error over the latent, or NaN within the warm-up."""
        scores = latents.new_full((len(latents),), torch.nan)
        done = 0
        while done < len(latents):
            count = self._together(len(latents) - done)
            self._latents = torch.cat([self._latents, latents[done : done + count]])
            scores[done : done + count] = self._score(count)
            done, self.seen = done + count, self.seen + count
            self._latents, self._blocks = self._latents[-self.warm_up :], self._blocks[-self.warm_up :]
        return scores

    def _together(self, left: int) -> int:
        """How many of the next frames have contexts of the same length and past blocks that are known by now."""
        complete = self.seen >= self.warm_up
        if complete and not (isinstance(self.actions, ActionSearch) and self.model.history > 1):
            return left
        return min(left, self.frameskip - self.seen % self.frameskip)

    def _score(self, count: int) -> Float[Tensor, " n"]:
        """Scores of the last `count` latents held; from now on the blocks that lead to them are held too."""
        device = self.model.device
        length = min(self.model.history, self.seen // self.frameskip)
        if isinstance(self.actions, Tensor):
            self._blocks = torch.cat([self._blocks, self.actions[self.seen : self.seen + count]])
        errors = torch.full((count,), torch.nan, device=device)
        found = torch.zeros(count, self.model.config.action_block, device=device)
        if length:
            new = len(self._latents) - count + torch.arange(count, device=device)
            steps = new[:, None] - self.frameskip * torch.arange(length, -1, -1, device=device)  # (B, L + 1)
            context, target = self._latents[steps[:, :-1]], self._latents[new]
            if isinstance(self.actions, Tensor):
                predicted = self.model.predict(context, self._blocks[steps[:, 1:]])[:, -1]
                errors = (predicted - target).square().mean(dim=-1)
            else:
                past = self._blocks[steps[:, 1:-1]] if length > 1 else None
                frames = torch.arange(self.seen, self.seen + count, device=device)
                errors, found = self.actions(self._dynamics, self.model.config.frameskip, context, past, target, frames)
        if isinstance(self.actions, ActionSearch):
            self._blocks = torch.cat([self._blocks, found])
        return errors if length == self.model.history else torch.full_like(errors, torch.nan)


def blocks_leading_to(model: WorldModel, actions: Float[Tensor, "n a"]) -> Float[Tensor, "n+1 A"]:
    """Blocks whose row t has the `frameskip` actions before frame t, normalised; it is 0 where there are fewer.

    Args:
        actions: `actions[t]` leads from frame t to frame t + 1, in environment units.
    """
    frameskip = model.config.frameskip
    none = actions.new_zeros(min(frameskip, len(actions) + 1), model.config.action_block)
    if len(actions) < frameskip:
        return none
    blocks = actions.unfold(0, frameskip, 1).transpose(1, 2).flatten(1)
    return torch.cat([none, model.normalize_actions(blocks)])
