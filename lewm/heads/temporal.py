"""Training the temporal head, which tells from two latents how many steps lie between them, and measuring it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lewm.heads.fitting import FitSettings, fit
from lewm.heads.pairs import Pairs
from lewm.measures.latents import rank_correlation
from lewm.planning.costs.head import Head

RANGES = 4  # ranges of steps by which the error is told


@dataclass(frozen=True)
class HeadSettings(FitSettings):
    """Every number of the head's training.

    Pairs, learning rate and weight decay are those of arXiv 2605.22164; the others are our choice.
    """

    longest: int | None = None  # the most steps between two moments; when None, those of the longest episode
    imagined: float = 0.5  # share of the pairs whose earlier latent is imagined
    horizon: int = 5  # the most blocks that are imagined
    frames: int = 100_000  # at most so many frames of the training episodes
    pairs: int = 100_000
    steps: int = 2000
    batch: int = 512
    learning_rate: float = 3e-4  # falls to 0 by a cosine
    weight_decay: float = 1e-4
    seed: int = 0  # seed of the choice of episodes and pairs, the first weights and the batches


@dataclass(frozen=True)
class StepsError:
    """Mean absolute error of the head, for pairs of some range of steps; None where there is no such pair.

    Attributes:
        least, most: The range.
        real: Steps, from real latents.
        imagined: Steps, from imagined latents.
    """

    least: int
    most: int
    real: float | None
    imagined: float | None


@dataclass(frozen=True)
class Ranking:
    """Spearman's rank correlation with the steps between the moments of pairs.

    Attributes:
        head: The correlation of what the head tells.
        distance: The correlation of the latents' Euclidean distance.
    """

    head: float
    distance: float


def train_head(pairs: Pairs, settings: HeadSettings, on_progress: Callable[[float], None] = lambda share: None) -> Head:
    """A head that tells the steps between these moments; on a CPU, equal arguments give equal heads.

    Args:
        pairs: Pairs from the episodes that the model was trained on.
        settings: The number of steps, their batch and the seed.
        on_progress: Called with the share of the steps that is done.
    """
    device = pairs.steps.device
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(settings.seed)
        head = Head(pairs.later.shape[1])
    with torch.no_grad():
        head.out.bias.fill_(pairs.steps.median())  # from 0, most of the training would go into this one number
    head.to(device)
    earlier, later = pairs.earlier.clone(), pairs.later.clone()  # autograd takes the clones, but no inference tensor

    def loss(chosen: Tensor) -> Tensor:
        return F.smooth_l1_loss(head(earlier[chosen], later[chosen]), pairs.steps[chosen])

    return fit(head, loss, len(later), settings, on_progress)


@torch.inference_mode()
def measure_head(
    head: Head, pairs: Pairs, longest: int
) -> tuple[tuple[StepsError, ...], Ranking | None, Ranking | None]:
    """The errors on held-out pairs by range of steps up to `longest`; how real pairs are ranked, and imagined ones.

    A ranking is None where there is no pair of the kind.
    """
    told = head(pairs.earlier, pairs.later).cpu().double().numpy()
    apart = (pairs.earlier - pairs.later).norm(dim=-1).cpu().double().numpy()
    steps, imagined = pairs.steps.cpu().double().numpy(), pairs.imagined.cpu().numpy()
    edges = np.unique(np.linspace(0, longest, RANGES + 1).astype(int))  # fewer ranges where there are fewer steps
    errors = []
    for least, most in zip(edges[:-1] + 1, edges[1:], strict=True):
        within = (steps >= least) & (steps <= most)
        of_real, of_imagined = (np.abs(told - steps)[within & kind] for kind in (~imagined, imagined))
        errors.append(StepsError(int(least), int(most), _mean(of_real), _mean(of_imagined)))
    real, other = (_ranking(steps[kind], told[kind], apart[kind]) for kind in (~imagined, imagined))
    return tuple(errors), real, other


def _ranking(steps: np.ndarray, told: np.ndarray, apart: np.ndarray) -> Ranking | None:
    return Ranking(rank_correlation(steps, told), rank_correlation(steps, apart)) if len(steps) else None


def _mean(errors: np.ndarray) -> float | None:
    return float(errors.mean()) if len(errors) else None
