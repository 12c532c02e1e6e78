"""Goal-conditioned behaviour cloning: which block an episode took on its way to some later moment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lewm.heads.fitting import fit, rng_of
from lewm.heads.policies.learning import Learnt, Material, OnShare, PolicySettings, filled
from lewm.heads.policies.measuring import draw_held_out, measure
from lewm.heads.policies.transitions import Transitions, later_goals, transitions_of
from lewm.planning.policy import Policy, patches_of


@dataclass(frozen=True)
class GcbcSettings(PolicySettings):
    """Every number of the policy's training: those of GC-IDM, so that only goals and what is told of them differ.

    In stable-worldmodel, GCBC has a learning rate of 1e-4, a batch of 128 and passes over all data.
    """


def learn_gcbc(material: Material, settings: GcbcSettings, on_share: OnShare) -> Learnt:
    """Learn from the blocks of the episodes that were seen; see `Material`."""
    policy = train_gcbc(
        transitions_of(material.model, material.seen), settings, patches_of(material.model.config), on_share
    )
    error, mean_action = measure(policy, draw_held_out(material, settings))
    return Learnt(policy, filled(settings, material), error, mean_action)


def train_gcbc(
    transitions: Transitions,
    settings: GcbcSettings,
    patches: int = 1,
    on_share: OnShare = lambda share: None,
) -> Policy:
    """A policy that clones these blocks; on a CPU, equal arguments give equal policies.

    The goal of a block is drawn anew whenever the block is: a later moment of the episode, all equally likely. The
    policy is not told how many steps it is ahead.

    Args:
        transitions: Blocks of the episodes that the model was trained on.
        settings: The number of steps, their batch and the seed.
        patches: Patches that a latent consists of.
        on_share: Called with the share of the steps that is done.
    """
    latents, blocks = transitions.latents, transitions.blocks
    device, rng = latents.device, rng_of(settings, 1)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(settings.seed)  # of the first weights and of dropout
        policy = Policy("gcbc", latents.shape[1], blocks.shape[1], None, patches).to(device)

        def loss(chosen: Tensor) -> Tensor:
            starts, lasts = transitions.starts[chosen], transitions.lasts[chosen]
            goals = later_goals(starts, lasts, torch.from_numpy(rng.random(len(chosen), np.float32)).to(device))
            return F.mse_loss(policy(latents[starts], latents[goals], None), blocks[chosen])

        return fit(policy, loss, len(blocks), settings, on_share)
