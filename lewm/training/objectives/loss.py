"""What an objective is: a module that makes a loss of a world model and a batch of clips.

B clips, T frames a clip, D latent width, A action-block width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float, UInt8
from torch import Tensor, nn

from lewm import config as cfg
from lewm.ranks import Ranks


@dataclass(frozen=True)
class Loss:
    """What is minimised, and what it consists of.

    Attributes:
        total: The sum of the terms, each times its weight.
        terms: Without their weights; the same names at each step, which are Python identifiers.
    """

    total: Float[Tensor, ""]
    terms: dict[str, Float[Tensor, ""]]


@runtime_checkable
class Network(Protocol):
    """What the loss needs of a world model, as `WorldModel` has it; compiled or not."""

    def encode(self, frames: Tensor, /) -> Tensor:
        """Embeddings of frames."""

    def predict(self, latents: Tensor, actions: Tensor, /) -> Tensor:
        """Next latent after each step, teacher forced."""


class Objective(nn.Module):
    """A loss with all that it learns beside the model, such as a head: its parameters are trained as the model's are.

    A kind of objective is a class derived from this one, a section of the configuration with its `weights`, and a line
    in `lewm.training.objectives.OBJECTIVES`.

    Args:
        settings: Its section of the configuration.
        model: That of the world model.
        seed: Of the training. Initial weights are drawn from PyTorch's generator as ever; what is drawn later is a
            function of the seed and the step.
    """

    def __init__(self, settings: Any, model: cfg.Model, seed: int) -> None:  # noqa: ANN401 - the section of its kind
        super().__init__()

    def forward(
        self,
        model: Network,
        frames: UInt8[Tensor, "B T Y X 3"],
        actions: Float[Tensor, "B T A"],
        step: int,
        ranks: Ranks,
    ) -> Loss:
        """The loss of a batch.

        Args:
            model: In training mode for BatchNorm over the batch.
            frames: T = the predictor's history + 1.
            actions: Normalised blocks; the last is not used.
            step: Steps that are done; with the seed it decides what is drawn anew each step.
            ranks: The processes whose batches are one.
        """
        raise NotImplementedError


def weighted(terms: dict[str, Float[Tensor, ""]], weights: Mapping[str, float]) -> Loss:
    """The loss of terms, whose names are those of the weights."""
    first, *others = (weights[name] * term for name, term in terms.items())
    return Loss(sum(others, first), terms)


def prediction_error(
    model: Network, latents: Float[Tensor, "B T D"], actions: Float[Tensor, "B T A"]
) -> Float[Tensor, ""]:
    """Mean square of what is predicted minus what is encoded.

    The first T - 1 embeddings predict the last T - 1 (teacher forcing); gradient flows into the targets too.
    """
    predicted = model.predict(latents[:, :-1], actions[:, :-1])
    return (predicted - latents[:, 1:]).float().square().mean()
