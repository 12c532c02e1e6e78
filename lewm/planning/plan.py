"""What costs and planners are made of.

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
        latents: Of the frames that were seen a block apart, the present one last.
        actions: Normalised blocks that were executed between them; None where there is the present alone.
    """

    latents: Float[Tensor, "B L D"]
    actions: Float[Tensor, "B P A"] | None = None


@dataclass(frozen=True)
class Start:
    """Where a search begins: a distribution over plans, one an environment, independent over blocks and dimensions.

    Attributes:
        mean: Of normalised blocks. Where actions are choices, the most probable plan.
        std: Standard deviation of normalised blocks. Where actions are choices, nothing looks at it.
        bounds: Of normalised blocks. A planner looks at no plan outside them.
        frameskip: Environment steps a block.
        one_hot: What plans consist of where actions are choices, and how probable each is; None where they are numbers.
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
        """A warm start: at what is left of the plan before, and as this one behind that.

        Args:
            left: Normalised blocks, h <= H of them.
        """
        return replace(self, mean=torch.cat([left, self.mean[:, left.shape[1] :]], dim=1))


@dataclass(frozen=True)
class Keys:
    """What the candidates' noise is a function of, together with the iteration: nothing else enters.

    Attributes:
        seed: 64 bits.
        episodes: A number for each environment.
        replan: How many plans the episodes have had; a tensor where a CUDA graph is to be replayed with another number.
    """

    seed: int
    episodes: Int64[Tensor, " B"]
    replan: int | Int64[Tensor, ""]

    def streams(self, iterations: int) -> Int64[Tensor, "I B 3"]:
        """One random stream an iteration and environment, made without waiting for the device."""
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
        history: A cost at each iteration, of the candidates that the planner goes on from.
    """

    actions: Float[Tensor, "B H A"]
    cost: Float[Tensor, " B"]
    history: Float[Tensor, "B I"]
