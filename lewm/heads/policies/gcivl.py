"""Goal-conditioned implicit value learning: cloning of the blocks that bring the goal nearer, as a learnt value says.

K rows.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor, nn

from lewm.heads.fitting import fit, rng_of
from lewm.heads.policies.learning import Learnt, Material, OnShare, PolicySettings, filled
from lewm.heads.policies.measuring import draw_held_out, measure
from lewm.heads.policies.transitions import Transitions, later_goals, near_goals, transitions_of
from lewm.heads.policies.value import Value, actor_weights, block_rewards, value_loss
from lewm.measures.latents import rank_correlation
from lewm.planning.policy import Policy, patches_of


@dataclass(frozen=True)
class GcivlSettings(PolicySettings):
    """Every number of the policy's training.

    Source: OGBench (arXiv 2410.20092) and stable-worldmodel, which has a temperature of 3 and actor goals half of which
    are random; OGBench has 10 and none. Expectile, discount, average and the shares of goals are the same in both.
    Differs: a step of the value is a block, so that the exponent of a good block is as large as that of a good action
    there; widths are our choice, for a CPU.
    """

    expectile: float = 0.9
    discount: float = 0.99  # of an environment step
    average: float = 0.995  # how much of the target network stays at each step
    value_random: float = 0.3  # share of the value's goals that are any frame
    value_present: float = 0.2  # share that is the state itself; the rest lies ahead, geometrically
    actor_random: float = 0.5  # share of the actor's goals that are any frame; the rest lies ahead, uniformly
    temperature: float = 3.0  # of the weights exp(temperature * advantage)
    most: float = 100.0  # and no weight is larger
    value_width: int = 256


def learn_gcivl(material: Material, settings: GcivlSettings, on_share: OnShare) -> Learnt:
    """Learn from the blocks of the episodes that were seen; see `Material`."""
    transitions = transitions_of(material.model, material.seen)
    policy, value = train_gcivl(transitions, settings, patches_of(material.model.config), on_share)
    held_out = draw_held_out(material, settings)
    error, mean_action = measure(policy, held_out)
    with torch.inference_mode():
        states, goals = held_out.latents[held_out.starts], held_out.latents[held_out.goals]
        values = value(states, goals).mean(dim=0)
    correlation = rank_correlation(held_out.steps.cpu().double().numpy(), -values.cpu().double().numpy())
    return Learnt(policy, filled(settings, material), error, mean_action, correlation)


class _Learners(nn.Module):
    def __init__(self, policy: Policy, value: Value) -> None:
        super().__init__()
        self.policy, self.value = policy, value


def train_gcivl(
    transitions: Transitions,
    settings: GcivlSettings,
    patches: int = 1,
    on_share: OnShare = lambda share: None,
) -> tuple[Policy, Value]:
    """A policy that clones the better of these blocks, and the value that tells which; both are learnt at once.

    On a CPU, equal arguments give equal results.

    Args:
        transitions: Blocks of the episodes that the model was trained on.
        settings: Every number.
        patches: Patches that a latent consists of.
        on_share: Called with the share of the steps that is done.
    """
    latents, blocks, frameskip = transitions.latents, transitions.blocks, transitions.frameskip
    device, discount = latents.device, settings.discount**frameskip
    goals_of = _Goals(transitions, settings)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(settings.seed)  # of the first weights and of dropout
        policy = Policy("gcivl", latents.shape[1], blocks.shape[1], None, patches).to(device)
        value = Value(latents.shape[1], settings.value_width, patches).to(device)
        target = deepcopy(value).requires_grad_(False)

        def loss(chosen: Tensor) -> Tensor:
            starts = transitions.starts[chosen]
            states, later = latents[starts], latents[starts + frameskip]
            numbers = goals_of.value(chosen)
            goals, rewards = latents[numbers], block_rewards(starts, numbers, frameskip)
            of_value = value_loss(
                value(states, goals),
                target(states, goals),
                target(later, goals),
                *rewards,
                discount,
                settings.expectile,
            )
            goals = latents[goals_of.actor(chosen)]
            with torch.no_grad():
                weights = actor_weights(value(states, goals), value(later, goals), settings.temperature, settings.most)
            errors = (policy(states, goals, None) - blocks[chosen]).square().mean(dim=-1)
            return of_value + (weights * errors).mean()

        def follow() -> None:
            with torch.no_grad():
                for kept, new in zip(target.parameters(), value.parameters(), strict=True):
                    kept.lerp_(new, 1 - settings.average)

        fit(_Learners(policy, value), loss, len(blocks), settings, on_share, follow)
    return policy, value


class _Goals:
    """Draws goals for transitions: numbers of frames."""

    def __init__(self, transitions: Transitions, settings: GcivlSettings) -> None:
        self.transitions, self.settings, self.rng = transitions, settings, rng_of(settings, 1)

    def value(self, chosen: Int64[Tensor, " K"]) -> Int64[Tensor, " K"]:
        """Goals of the value: the present, a moment that is geometrically far ahead, or any frame."""
        settings, starts = self.settings, self.transitions.starts[chosen]
        near = near_goals(starts, self.transitions.lasts[chosen], self._shares(len(chosen)), settings.discount)
        kind = self._shares(len(chosen))
        goals = torch.where(kind < settings.value_random, self._any(len(chosen)), near)
        return torch.where(kind >= 1 - settings.value_present, starts, goals)

    def actor(self, chosen: Int64[Tensor, " K"]) -> Int64[Tensor, " K"]:
        """Goals of the actor: some later moment, or any frame."""
        starts, lasts = self.transitions.starts[chosen], self.transitions.lasts[chosen]
        later = later_goals(starts, lasts, self._shares(len(chosen)))
        return torch.where(self._shares(len(chosen)) < self.settings.actor_random, self._any(len(chosen)), later)

    def _any(self, count: int) -> Int64[Tensor, " K"]:
        return torch.from_numpy(self.rng.integers(len(self.transitions.latents), size=count)).to(self._device)

    def _shares(self, count: int) -> Float32[Tensor, " K"]:
        return torch.from_numpy(self.rng.random(count, np.float32)).to(self._device)

    @property
    def _device(self) -> torch.device:
        return self.transitions.starts.device
