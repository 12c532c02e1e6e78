"""A policy that was learnt on a run's latents: it chooses the next block for a goal, without a search.

D latent width, A action-block width, W hidden width, F width of the steps' embedding, N numbers of a latent that the
layers are given, G numbers of a row.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from lewm.checkpoints.sized import load_sized, save_sized
from lewm.config import POLICY_KINDS, Model, PatchesPredictor, PolicyKind
from lewm.errors import LewmError
from lewm.model.rows import WIDTHS, at_least_min_rows
from lewm.model.world_model import WorldModel

METADATA = "policy"  # the key of the JSON text beside the tensors
REMEDY = 'Train one with "lewm train-policy".'
NAMES: dict[PolicyKind, str] = {"idm": "GC-IDM", "gcbc": "GCBC", "gcivl": "GCIVL"}  # as reports say them

WIDTH, LAYERS, DROPOUT = 512, 3, 0.1
PATCH_WIDTH = 16  # numbers of each patch, where a latent is a map of patches
STEPS_WIDTH = 64  # F
FASTEST = 1000  # the ratio of the highest and the lowest frequency of the steps' embedding


class Latents(nn.Module):
    """The numbers of a latent that layers are given: the latent itself or, of a map of patches, fewer of each patch.

    The map is flattened channel after channel. All patches have one linear map to `PATCH_WIDTH` numbers, so that the
    layers after it stay small.

    Args:
        latent: D.
        patches: Patches that the latent consists of; 1 where it is a single vector.

    Attributes:
        width: How many numbers there are.
    """

    def __init__(self, latent: int, patches: int) -> None:
        super().__init__()
        if latent % patches:
            raise ValueError(f"a latent of {latent} numbers does not consist of {patches} patches")
        self.latent, self.patches = latent, patches
        self.patch = nn.Linear(latent // patches, PATCH_WIDTH) if patches > 1 else None
        self.width = latent if patches == 1 else patches * PATCH_WIDTH

    def forward(self, latents: Float[Tensor, "rows D"]) -> Float[Tensor, "rows N"]:
        """The numbers of each latent."""
        if self.patch is None:
            return latents
        patches = latents.unflatten(1, (-1, self.patches)).mT  # (rows, patches, channels)
        numbers: Tensor = self.patch(patches.flatten(0, 1))  # (rows * patches, width)
        return numbers.unflatten(0, (-1, self.patches)).flatten(1)


class Policy(nn.Module):
    """Chooses the block that begins the way from a latent to a goal's.

    Layers on [latent, goal]. A policy that is told the steps to the goal has each layer scaled and shifted by them; the
    effect of this is zero before training.

    Args:
        kind: How it was learnt; a goal-conditioned inverse dynamics model ("idm") is told the steps.
        latent: D.
        action_block: A.
        longest: The most steps that the goal is ahead; larger numbers are taken for this one. None: the policy is not
            told the steps.
        patches: See `Latents`.

    Source: arXiv 2605.08732.
    """

    table: Tensor

    def __init__(self, kind: PolicyKind, latent: int, action_block: int, longest: int | None, patches: int = 1) -> None:
        super().__init__()
        self.kind, self.latent, self.action_block = kind, latent, action_block
        self.longest, self.patches = longest, patches
        self.latents = Latents(latent, patches)
        sizes = [2 * self.latents.width] + [WIDTH] * (LAYERS - 1)
        self.layers = nn.ModuleList(nn.Linear(size, WIDTH) for size in sizes)
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in sizes)
        self.dropout = nn.Dropout(DROPOUT)
        if longest is not None:
            self.steps_in = nn.Linear(STEPS_WIDTH, STEPS_WIDTH)
            modulations = [nn.Linear(STEPS_WIDTH, 2 * WIDTH) for _ in sizes]
            for modulation in modulations:
                nn.init.zeros_(modulation.weight)
                nn.init.zeros_(modulation.bias)
            self.steps_out = nn.ModuleList(modulations)
            self.register_buffer("table", _sinusoidal(longest))
        self.out = nn.Linear(WIDTH, -(-action_block // WIDTHS) * WIDTHS)  # what is beyond A is not used

    def forward(
        self, latents: Float[Tensor, "rows D"], goals: Float[Tensor, "rows D"], steps: Int64[Tensor, " rows"] | None
    ) -> Float[Tensor, "rows A"]:
        """Normalised blocks, each row by itself.

        Args:
            latents: Where the ways begin.
            goals: Where they lead.
            steps: Environment steps to the goals, at least 1; a policy that is not told them needs none.
        """
        given = [latents, goals]
        if self.longest is not None:
            assert steps is not None
            given.append(self.table[steps.clamp(max=self.longest)])
        return at_least_min_rows(self._blocks, torch.cat(given, dim=-1))

    def _blocks(self, given: Float[Tensor, "rows G"]) -> Float[Tensor, "rows A"]:
        latents, goals, embedded = given.split([self.latent, self.latent, given.shape[1] - 2 * self.latent], dim=-1)
        x = torch.cat([self.latents(latents), self.latents(goals)], dim=-1)
        steps = None if self.longest is None else _gelu(self.steps_in(embedded))
        for number, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            x = norm(layer(x))
            if steps is not None:
                scale, shift = self.steps_out[number](steps).chunk(2, dim=-1)
                x = x * (1 + scale) + shift
            x = self.dropout(F.gelu(x, approximate="tanh") if self.training else _gelu(x))
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
    about = {
        "kind": policy.kind,
        "latent": policy.latent,
        "action_block": policy.action_block,
        "longest": policy.longest,
        "patches": policy.patches,
    }
    save_sized(path, policy, METADATA, about, checkpoint)


def load_policy(path: Path, device: torch.device) -> tuple[Policy, str | None]:
    """A policy that `save_policy` wrote, in eval mode; beside it the checkpoint's digest.

    Raises:
        LewmError: the file is missing, damaged, or no policy, or its weights are not finite.
    """
    return load_sized(path, METADATA, _made, device, "not a policy, or of another version", REMEDY)


def _made(about: Any, tensors: int) -> Policy:  # noqa: ANN401  # what JSON holds
    kind, latent, action_block, longest, patches = (
        about[name] for name in ("kind", "latent", "action_block", "longest", "patches")
    )
    sizes = [latent, action_block, patches, *([] if longest is None else [longest])]
    if kind not in POLICY_KINDS or not all(type(size) is int and size >= 1 for size in sizes):
        raise ValueError("a kind that there is not, or sizes that are not numbers from 1 on")
    return Policy(kind, latent, action_block, longest, patches)


def patches_of(config: Model) -> int:
    """Patches that the latents of a model consist of; 1 where they are single vectors."""
    return config.predictor.patches if isinstance(config.predictor, PatchesPredictor) else 1


def check_policy(
    kind: PolicyKind, policy: Policy | None, model: WorldModel, action_groups: tuple[int, ...] | None
) -> None:
    """Raises where a policy cannot act with this model.

    Args:
        kind: The kind that is asked for.
        policy: The policy, if there is one.
        model: The world model.
        action_groups: See `Controller`; None where actions are numbers.

    Raises:
        LewmError: there is none, it is of another kind or for another model, or actions are choices.
    """
    if action_groups is not None:
        raise LewmError(
            "a policy chooses actions that are numbers, and those of this world are choices",
            "Use --agent planner and --warm-start off.",
        )
    if policy is None:
        raise LewmError("the settings ask for a policy, and there is none", REMEDY)
    if policy.kind != kind:
        raise LewmError(f"a policy of the kind {policy.kind}, the settings ask for {kind}", REMEDY)
    config = model.config
    found, expected = (policy.latent, policy.action_block), (config.latent, config.action_block)
    if found != expected:
        raise LewmError(
            f"a policy for latents and action blocks of {found} numbers, the model's have {expected}",
            'Train one for this model with "lewm train-policy".',
        )
