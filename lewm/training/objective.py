"""The two-term loss.

B clips, T frames a clip, A action-block width, K knots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float, UInt8
from torch import Tensor

from lewm_kernels import RandomDirections, sigreg


@dataclass(frozen=True)
class Loss:
    """`total` = `prediction` + λ · `sigreg`."""

    total: Float[Tensor, ""]
    prediction: Float[Tensor, ""]
    sigreg: Float[Tensor, ""]


@runtime_checkable
class Network(Protocol):
    """What the loss needs of a world model, as `WorldModel` has it; compiled or not."""

    def encode(self, frames: Tensor, /) -> Tensor:
        """Embeddings of frames."""

    def predict(self, latents: Tensor, actions: Tensor, /) -> Tensor:
        """Next latent after each step, teacher forced."""


def objective(
    model: Network,
    frames: UInt8[Tensor, "B T Y X 3"],
    actions: Float[Tensor, "B T A"],
    directions: RandomDirections,
    knots: Float[Tensor, " K"],
    weight: float,
) -> Loss:
    """Next-embedding prediction error plus `weight` (λ) times SIGReg.

    The first T - 1 embeddings predict the last T - 1 (teacher forcing); gradient flows into the targets too. SIGReg
    is taken for every time step separately, over the clips.

    Args:
        model: In training mode for BatchNorm over the batch.
        frames: T = the predictor's history + 1.
        actions: Normalised blocks; the last is not used.
        directions: SIGReg's, drawn anew each step.
        knots: Uniform, from 0.
        weight: λ.

    Source: arXiv 2603.19312, section 3.
    """
    latents = model.encode(frames)
    predicted = model.predict(latents[:, :-1], actions[:, :-1])
    prediction = (predicted - latents[:, 1:]).float().square().mean()
    statistic = sigreg(latents.float().transpose(0, 1), directions, knots).mean()
    return Loss(prediction + weight * statistic, prediction, statistic)
