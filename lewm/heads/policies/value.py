"""How good it is to be at a state on the way to a goal: a value that is learnt offline, from what was executed.

Its unit is a block, for which a policy decides. B examples, V networks, D latent width.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from lewm.planning.policy import Latents

NETWORKS = 2  # V; the lower of their estimates says which blocks are better than expected


class Value(nn.Module):
    """Estimates of the value of states on the way to goals, by several networks that differ in their first weights.

    Args:
        latent: D.
        width: Width of the three hidden layers of each network.
        patches: Patches that a latent consists of.
    """

    def __init__(self, latent: int, width: int, patches: int = 1) -> None:
        super().__init__()
        self.networks = nn.ModuleList(_Network(latent, width, patches) for _ in range(NETWORKS))

    def forward(self, states: Float[Tensor, "B D"], goals: Float[Tensor, "B D"]) -> Float[Tensor, "V B"]:
        """The estimates of each network."""
        return torch.stack([network(states, goals) for network in self.networks])


class _Network(nn.Module):
    def __init__(self, latent: int, width: int, patches: int) -> None:
        super().__init__()
        self.latents = Latents(latent, patches)
        sizes = (2 * self.latents.width, width, width)
        self.layers = nn.Sequential(*(part for size in sizes for part in _layer(size, width)), nn.Linear(width, 1))

    def forward(self, states: Float[Tensor, "B D"], goals: Float[Tensor, "B D"]) -> Float[Tensor, " B"]:
        estimates: Tensor = self.layers(torch.cat([self.latents(states), self.latents(goals)], dim=-1))
        return estimates[:, 0]


def _layer(size: int, width: int) -> list[nn.Module]:
    return [nn.Linear(size, width), nn.LayerNorm(width), nn.GELU(approximate="tanh")]


def block_rewards(
    starts: Int64[Tensor, " B"], goals: Int64[Tensor, " B"], frameskip: int
) -> tuple[Float[Tensor, " B"], Bool[Tensor, " B"]]:
    """The reward of the block from each start, and whether the way to the goal goes on after it.

    The reward is minus the share of the block that is on the way: -1, less where the goal is one of the block's frames,
    and 0 at the goal. Starts and goals are numbers of frames, and a whole block follows each start in its episode.
    """
    ahead = goals - starts
    within = (ahead >= 0) & (ahead <= frameskip)
    return -torch.where(within, ahead / frameskip, 1.0), ~within


def expectile_loss(advantage: Float[Tensor, "*B"], error: Float[Tensor, "*B"], expectile: float) -> Float[Tensor, ""]:
    """Mean squared error; one whose advantage is negative counts less, by (1 - expectile) instead of expectile."""
    return (torch.where(advantage >= 0, expectile, 1 - expectile) * error.square()).mean()


def value_loss(
    values: Float[Tensor, "V B"],
    here: Float[Tensor, "V B"],
    ahead: Float[Tensor, "V B"],
    rewards: Float[Tensor, " B"],
    goes_on: Bool[Tensor, " B"],
    discount: float,
    expectile: float,
) -> Float[Tensor, ""]:
    """The sum of the networks' expectile losses; each is drawn to its own estimate of what follows.

    Which blocks count more is decided by the lower estimate of what follows, against the mean estimate of the state.

    Args:
        values: The networks' values of the states.
        here: Those of the target networks.
        ahead: Values of the states a block later, by the target networks.
        rewards: See `block_rewards`.
        goes_on: See `block_rewards`; what follows counts only there.
        discount: The discount of a block.
        expectile: See `expectile_loss`.

    Source: OGBench.
    """
    expected = rewards + discount * goes_on * ahead  # (V, B)
    advantage = rewards + discount * goes_on * ahead.amin(dim=0) - here.mean(dim=0)
    return torch.stack([expectile_loss(advantage, error, expectile) for error in expected - values]).sum()


def actor_weights(
    here: Float[Tensor, "V B"], ahead: Float[Tensor, "V B"], temperature: float, most: float
) -> Float[Tensor, " B"]:
    """How much each block counts when it is cloned: exp(temperature * advantage), at most `most`.

    The advantage is by how much the mean value rises from a state to the state a block later.
    """
    return (temperature * (ahead.mean(dim=0) - here.mean(dim=0))).exp().clamp(max=most)
