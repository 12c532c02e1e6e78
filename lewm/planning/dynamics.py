"""Dynamics: the latents that plans lead to.

B environments, S candidates, H horizon in blocks, L context length, P = L - 1 past blocks, D latent width, A
action-block width.
"""

from __future__ import annotations

import copy
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from lewm.model.world_model import WorldModel
from lewm.runtime import physical_memory
from lewm_kernels.rollout import rollout

CPU_ROWS = 2400  # candidates that one call of the model sees on a CPU: more only push activations out of the cache
MEMORY_SHARE = 8  # elsewhere one call may fill an eighth of the device's memory


@runtime_checkable
class Dynamics(Protocol):
    """All that planning, its costs and surprise know of a world; it may be a model or a simulator."""

    @property
    def device(self) -> torch.device:
        """The device that latents and blocks have to be on."""

    @property
    def action_block(self) -> int:
        """A."""

    def rows(self, horizon: int) -> int:
        """Candidates of `horizon` blocks that one call should see at most."""

    def __call__(self, latents: Tensor, candidates: Tensor, history: Tensor | None = None, /) -> Tensor:
        """Latents (B, S, H, D) after each block of the candidates.

        Args:
            latents: (B, L, D), seen a block apart, the present one last.
            candidates: (B, S, H, A), normalised blocks.
            history: (B, L - 1, A), the blocks between the latents; None where L is 1.
        """


def dynamics_of(model: WorldModel, precision: str = "fp32") -> Dynamics:
    """The fastest dynamics of the model, without gradients where that is faster.

    Args:
        model: The world model, in eval mode, on the device to compute on.
        precision: Precision of the matrix products, see `WorldModel.pack`.
    """
    return PackedDynamics(model, precision) if model.packs else DifferentiableDynamics(model)


class PackedDynamics:
    """The predictor of a world model, packed for `lewm_kernels.rollout`: fast, and without gradients.

    It is a snapshot: where the model is trained further, make another one.

    Args:
        model: The world model, in eval mode, on the device to compute on.
        precision: Precision of the matrix products, see `WorldModel.pack`.
    """

    def __init__(self, model: WorldModel, precision: str = "fp32") -> None:
        self.packed = model.pack(precision)
        self.device, self.action_block = self.packed.device, self.packed.action_block

    def rows(self, horizon: int) -> int:
        """As many candidates as fit the cache of a CPU, or the memory of another device."""
        if self.device.type == "cpu":
            return CPU_ROWS
        packed = self.packed
        modulations = len(packed.modulation_weight) * horizon
        attention = 3 * packed.inner * len(packed.layers) * packed.history
        mlp = 4 * len(packed.layers[0].fc1_weight) * packed.history
        ends = horizon * (packed.latent + 4 * packed.action_block)
        return physical_memory(self.device) // MEMORY_SHARE // (4 * (modulations + attention + mlp + ends))

    def __call__(
        self,
        latents: Float[Tensor, "B L D"],
        candidates: Float[Tensor, "B S H A"],
        history: Float[Tensor, "B P A"] | None = None,
    ) -> Float[Tensor, "B S H D"]:
        """Latents after each block of the candidates, in float32: see `Dynamics`."""
        return rollout(self.packed, latents, candidates, history)


class DifferentiableDynamics:
    """A world model that predicts step by step: any predictor will do, and candidates have gradients, weights none.

    It is a snapshot: where the model is trained further, make another one.

    Args:
        model: The world model, in eval mode, on the device to compute on.
    """

    def __init__(self, model: WorldModel) -> None:
        with torch.inference_mode(False):  # autograd takes no tensors that are made in that mode
            self.model = copy.deepcopy(model).requires_grad_(False)
        self.device, self.history = model.device, model.history
        self.action_block = model.config.action_block

    def rows(self, horizon: int) -> int:
        """One on a CPU: every environment is then computed by itself, and no product's rounding depends on others."""
        if self.device.type == "cpu":
            return 1
        return physical_memory(self.device) // MEMORY_SHARE // self._bytes(horizon, horizon)

    def __call__(
        self,
        latents: Float[Tensor, "B L D"],
        candidates: Float[Tensor, "B S H A"],
        history: Float[Tensor, "B P A"] | None = None,
    ) -> Float[Tensor, "B S H D"]:
        """Latents after each block of the candidates: see `Dynamics`. The predictor sees the last `history` latents.

        Without a gradient, no more candidates are computed at once than the memory has room for.
        """
        together = candidates.shape[1]
        if not (torch.is_grad_enabled() and candidates.requires_grad):
            most = physical_memory(self.device) // MEMORY_SHARE // self._bytes(candidates.shape[2], 1)
            together = max(1, min(together, most // len(candidates)))
        parts = candidates.split(together, dim=1)
        return torch.cat([self.model.roll_by_steps(latents, some, history) for some in parts], dim=1)

    def _bytes(self, horizon: int, windows: int) -> int:
        """The least that a candidate of `horizon` blocks keeps of so many windows: the outputs of all maps."""
        config, predictor = self.model.config, self.model.predictor
        weights = sum(parameter.shape[0] for parameter in predictor.parameters() if parameter.ndim == 2)
        length = min(horizon, self.history)
        return 4 * windows * length * (predictor.tokens * weights + 4 * config.latent + config.action_block)
