"""A policy that was learnt on a run's latents: it chooses the next block for a goal and for the steps left to it.

D latent width, A action-block width, W hidden width, F width of the steps' embedding.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from lewm.checkpoints.sized import load_sized, save_sized
from lewm.config import Planning
from lewm.errors import LewmError
from lewm.model.rows import WIDTHS, at_least_min_rows
from lewm.model.world_model import WorldModel

METADATA = "policy"  # the key of the JSON text beside the tensors
REMEDY = 'Train one with "lewm train-policy".'

WIDTH, LAYERS, DROPOUT = 512, 3, 0.1
STEPS_WIDTH = 64  # F
FASTEST = 1000  # the ratio of the highest and the lowest frequency of the steps' embedding


class Policy(nn.Module):
    """Goal-conditioned inverse dynamics: the block that begins the way to a goal so many steps ahead.

    Layers on [latent, goal], each scaled and shifted by the steps, whose effect is zero before training.

    Args:
        latent: D.
        action_block: A.
        longest: The most steps that the goal is ahead; larger numbers are taken for this one.

    Source: arXiv 2605.08732.
    """

    table: Tensor

    def __init__(self, latent: int, action_block: int, longest: int) -> None:
        super().__init__()
        self.latent, self.action_block, self.longest = latent, action_block, longest
        sizes = [2 * latent] + [WIDTH] * (LAYERS - 1)
        self.layers = nn.ModuleList(nn.Linear(size, WIDTH) for size in sizes)
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in sizes)
        self.dropout = nn.Dropout(DROPOUT)
        self.steps_in = nn.Linear(STEPS_WIDTH, STEPS_WIDTH)
        modulations = [nn.Linear(STEPS_WIDTH, 2 * WIDTH) for _ in sizes]
        for modulation in modulations:
            nn.init.zeros_(modulation.weight)
            nn.init.zeros_(modulation.bias)
        self.steps_out = nn.ModuleList(modulations)
        self.out = nn.Linear(WIDTH, -(-action_block // WIDTHS) * WIDTHS)  # what is beyond A is not used
        self.register_buffer("table", _sinusoidal(longest))

    def forward(
        self, latents: Float[Tensor, "rows D"], goals: Float[Tensor, "rows D"], steps: Int64[Tensor, " rows"]
    ) -> Float[Tensor, "rows A"]:
        """Normalised blocks, each row by itself; the steps are at least 1."""
        given = torch.cat([latents, goals, self.table[steps.clamp(max=self.longest)]], dim=-1)
        return at_least_min_rows(self._blocks, given)

    def _blocks(self, given: Float[Tensor, "rows G"]) -> Float[Tensor, "rows A"]:
        x, embedded = given.split([2 * self.latent, STEPS_WIDTH], dim=-1)
        steps = _gelu(self.steps_in(embedded))
        for layer, norm, modulation in zip(self.layers, self.norms, self.steps_out, strict=True):
            scale, shift = modulation(steps).chunk(2, dim=-1)
            x = self.dropout(_gelu(norm(layer(x)) * (1 + scale) + shift))
        return self.out(x)[:, : self.action_block]


def _gelu(x: Float[Tensor, "rows W"]) -> Float[Tensor, "rows W"]:
    """GELU by tanh, written out: PyTorch's rounds differently at the end of a tensor and of a thread's share."""
    return 0.5 * x * (1 + (math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)).tanh())


def _sinusoidal(longest: int) -> Float[Tensor, "steps F"]:
    """Sines and cosines of the share of the longest way, for 0 to `longest` steps."""
    frequencies = FASTEST ** torch.linspace(0, 1, STEPS_WIDTH // 2)
    angles = torch.arange(longest + 1)[:, None] / longest * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def save_policy(path: Path, policy: Policy, checkpoint: str | None = None) -> None:
    """Write a policy, with its sizes and a checksum.

    Args:
        path: The file.
        policy: The policy.
        checkpoint: Digest of the file of weights on whose latents it was trained; None where it is not known.

    Raises:
        OSError: there is no room, or the place cannot be written.
    """
    sizes = {"latent": policy.latent, "action_block": policy.action_block, "longest": policy.longest}
    save_sized(path, policy, METADATA, sizes, checkpoint)


def load_policy(path: Path, device: torch.device) -> tuple[Policy, str | None]:
    """A policy that `save_policy` wrote, in eval mode; beside it the checkpoint's digest.

    Raises:
        LewmError: the file is missing, damaged, or no policy, or its weights are not finite.
    """
    return load_sized(path, METADATA, _made, device, "not a policy, or of another version", REMEDY)


def _made(sizes: Any, tensors: int) -> Policy:  # noqa: ANN401  # what JSON holds
    latent, action_block, longest = (sizes[name] for name in ("latent", "action_block", "longest"))
    if not all(type(size) is int and size >= 1 for size in (latent, action_block, longest)):
        raise ValueError("sizes that are not numbers from 1 on")
    return Policy(latent, action_block, longest)


def uses_policy(planning: Planning) -> bool:
    """Whether plans come from a policy, or begin at one."""
    return planning.agent == "idm" or planning.warm_start == "idm"


def check_policy(policy: Policy | None, model: WorldModel, action_groups: tuple[int, ...] | None) -> None:
    """Raises where a policy cannot act with this model.

    Args:
        policy: The policy, if there is one.
        model: The world model.
        action_groups: See `Controller`; None where actions are numbers.

    Raises:
        LewmError: there is none, it is for another model, or actions are choices.
    """
    if action_groups is not None:
        raise LewmError(
            "a policy chooses actions that are numbers, and those of this world are choices",
            "Use --agent planner and --warm-start off.",
        )
    if policy is None:
        raise LewmError("the settings ask for a policy, and there is none", REMEDY)
    config = model.config
    found, expected = (policy.latent, policy.action_block), (config.latent, config.action_block)
    if found != expected:
        raise LewmError(
            f"a policy for latents and action blocks of {found} numbers, the model's have {expected}",
            'Train one for this model with "lewm train-policy".',
        )
