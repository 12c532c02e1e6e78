"""From frames and goals to actions in environment units.

B environments, H horizon in blocks, D latent width.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor

from lewm.config import Planning
from lewm.model.world_model import WorldModel
from lewm.planning.cem import Gaussian, Keys, cem
from lewm.planning.cost import last_step


@dataclass(frozen=True)
class Controller:
    """Plans with a world model.

    Attributes:
        model: In eval mode.
        planning: CEM's settings.
        seed: Of the candidates' noise.
    """

    model: WorldModel
    planning: Planning
    seed: int

    @property
    def execute(self) -> int:
        """Environment steps of a plan that are executed before the next."""
        return (self.planning.execute or self.planning.horizon) * self.model.config.frameskip

    @torch.inference_mode()
    def embed(self, frames: UInt8[np.ndarray, "B Y X 3"]) -> Float[Tensor, "B D"]:
        """Embeddings of single frames."""
        return self.model.embed(torch.from_numpy(frames))

    @torch.inference_mode()
    def plan(
        self,
        frames: UInt8[np.ndarray, "B Y X 3"],
        goals: Float[Tensor, "B D"],
        episodes: Int64[np.ndarray, " B"],
        replan: int,
        on_iteration: Callable[[float], None] = lambda share: None,
    ) -> Float32[np.ndarray, "B steps action_dim"]:
        """Actions for the next H × frameskip environment steps, in environment units.

        Args:
            frames: What each environment shows now.
            goals: Embeddings of the goals, from `embed`.
            episodes: A number for each environment; with `replan` and the seed it keys the noise.
            replan: How many plans each of these episodes has had.
            on_iteration: Told the share of the solve that is done.
        """
        model, horizon = self.model, self.planning.horizon
        distance = last_step(model, self.embed(frames)[:, None], goals)
        calls = itertools.count()

        def cost(candidates: Float[Tensor, "B S H A"]) -> Float[Tensor, "B S"]:
            on_iteration(next(calls) / (self.planning.iterations + 1))  # one call for the result
            return distance(candidates)

        start = Gaussian.standard(len(frames), horizon, model.config.action_block, model.device)
        keys = Keys(self.seed, torch.from_numpy(episodes).to(model.device), replan)
        blocks = model.denormalize_actions(cem(cost, start, self.planning, keys).actions)
        actions = blocks.reshape(len(frames), horizon * model.config.frameskip, model.config.action_dim)
        return actions.float().cpu().numpy()

    @torch.inference_mode()
    def imagine(
        self, frames: UInt8[np.ndarray, "B Y X 3"], actions: Float32[np.ndarray, "B steps action_dim"]
    ) -> Float[Tensor, "B H D"]:
        """Latents that the model expects after each block of `actions`, which are whole blocks as `plan` gives them.

        Args:
            frames: What each environment shows before the first.
        """
        model = self.model
        blocks = torch.from_numpy(actions).to(model.device).reshape(len(actions), -1, model.config.action_block)
        return model.rollout(self.embed(frames)[:, None], model.normalize_actions(blocks)[:, None])[:, 0]
