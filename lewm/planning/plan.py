"""What costs and planners work with.

B environments, S candidates, H horizon in blocks, L context length, P = L - 1 past blocks, D latent width, A
action-block width, I iterations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lewm.model.actions import BlockBounds
from lewm.planning.one_hot import OneHot

Cost = Callable[[Float[Tensor, "B S H A"]], Float[Tensor, "B S"]]


@dataclass(frozen=True)
class Context:
    """What plans begin from.

    Attributes:
        latents: Latents of the frames that were seen a block apart, the present one last.
        actions: Normalised blocks that were executed between them; None where there is only the present.
    """

    latents: Float[Tensor, "B L D"]
    actions: Float[Tensor, "B P A"] | None = None


@dataclass(frozen=True)
class Start:
    """Where a search begins: for each environment a distribution over plans, independent over blocks and dimensions.

    Attributes:
        mean: Mean of normalised blocks. Where actions are choices, the most probable plan.
        std: Standard deviation of normalised blocks. It is not used where actions are choices.
        bounds: Bounds of normalised blocks. A planner considers no plan outside them.
        frameskip: Environment steps a block.
        one_hot: The choices that plans consist of, and their probabilities; None where actions are numbers.
    """

    mean: Float[Tensor, "B H A"]
    std: Float[Tensor, "B H A"]
    bounds: BlockBounds | None = None
    frameskip: int = 1
    one_hot: OneHot | None = None

    @classmethod
    def standard(
        cls,
        environments: int,
        horizon: int,
        action_block: int,
        device: torch.device,
        bounds: BlockBounds | None = None,
        frameskip: int = 1,
        one_hot: OneHot | None = None,
    ) -> Start:
        """Mean 0 and standard deviation 1: the actions of the training data, normalised. Source: released code.

        Where actions are choices, the mean is the most probable plan.
        """
        shape = (environments, horizon, action_block)
        mean, std = torch.zeros(shape, device=device), torch.ones(shape, device=device)
        if one_hot is not None:
            mean = one_hot.normalized(one_hot.likeliest(one_hot.probability)).expand(shape)
        return cls(mean, std, bounds, frameskip, one_hot)

    def after(self, left: Float[Tensor, "B h A"]) -> Start:
        """A warm start: its mean is what is left of the plan before, followed by this start's mean.

        Args:
            left: The h <= H normalised blocks that are left.
        """
        return replace(self, mean=torch.cat([left, self.mean[:, left.shape[1] :]], dim=1))


@dataclass(frozen=True)
class Keys:
    """The candidates' noise is a function of these and of the iteration, and of nothing else.

    Attributes:
        seed: 64 bits.
        episodes: A number for each environment.
        replan: How many plans the episodes have had; a tensor where a CUDA graph is to be replayed with another number.
    """

    seed: int
    episodes: Int64[Tensor, " B"]
    replan: int | Int64[Tensor, ""]

    def streams(self, iterations: int) -> Int64[Tensor, "I B 3"]:
        """One random stream for each iteration and environment, made without waiting for the device."""
        streams = self.episodes.new_empty(iterations, len(self.episodes), 3)
        streams[..., 0] = self.episodes
        streams[..., 1] = self.replan
        streams[..., 2] = torch.arange(iterations, device=streams.device)[:, None]
        return streams


@dataclass(frozen=True)
class Plan:
    """What a planner returns.

    Attributes:
        actions: Normalised blocks.
        cost: Cost of `actions`.
        history: At each iteration a cost of the candidates that the planner goes on from.
    """

    actions: Float[Tensor, "B H A"]
    cost: Float[Tensor, " B"]
    history: Float[Tensor, "B I"]
