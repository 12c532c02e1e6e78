"""What the learning of all kinds of policies has in common: what is given, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from lewm.episode_latents import EpisodeLatents
from lewm.heads.fitting import FitSettings
from lewm.model.world_model import WorldModel
from lewm.planning.policy import Policy

MEASURED = 4000  # held-out moves that the error is measured on

OnShare = Callable[[float], None]  # is told which share of the steps is done


@dataclass(frozen=True)
class PolicySettings(FitSettings):
    """What all kinds of policies have of the numbers of their training. They are our choice, for a CPU.

    Attributes:
        frames: At most so many frames of training episodes, but one episode at least; when None, all of them.
    """

    steps: int = 6000  # of each kind, so that none gets more than another
    batch: int = 256
    learning_rate: float = 1e-3  # falls to 0 by a cosine
    weight_decay: float = 1e-2
    seed: int = 0  # seed of the choice of episodes and goals, the first weights, dropout and the batches
    frames: int | None = None


S = TypeVar("S", bound=PolicySettings)


@dataclass(frozen=True, eq=False)
class Material:
    """What a policy is learnt from, and measured on.

    Attributes:
        model: The world model, in eval mode.
        seen: Latents of episodes that the model was trained on.
        unseen: Latents of episodes that it was not trained on.
        longest: The most steps between two moments of the episodes in `seen`, or as many as were asked for.
        unseen_longest: The same of the episodes in `unseen`.
    """

    model: WorldModel
    seen: EpisodeLatents
    unseen: EpisodeLatents
    longest: int
    unseen_longest: int


@dataclass(frozen=True, eq=False)
class Learnt:
    """A policy, and how well it does in the episodes that it was not trained on.

    Attributes:
        policy: The policy, in eval mode.
        settings: The settings of its training, with what was chosen where they left it open.
        error: Mean squared error of normalised actions.
        mean_action: The same where every action is taken for the mean of the training data.
        value_correlation: Spearman's rank correlation of minus the value with the steps to the goal, for a kind that
            learns a value.
    """

    policy: Policy
    settings: PolicySettings
    error: float
    mean_action: float
    value_correlation: float | None = None


def filled(settings: S, material: Material) -> S:
    """The settings, with the number of frames that there were."""
    return replace(settings, frames=len(material.seen.latents))
