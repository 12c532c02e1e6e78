"""The base of objectives: modules that compute a loss from a world model and a batch of clips.

B clips, T frames a clip, D latent width, A action-block width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from lewm import config as cfg
from lewm.errors import LewmError
from lewm.ranks import Ranks


@dataclass(frozen=True)
class Loss:
    """The loss that is minimised, and its terms.

    Attributes:
        total: The sum of the terms, each times its weight.
        terms: The terms without their weights. Their names are Python identifiers, and the same at each step.
    """

    total: Float[Tensor, ""]
    terms: dict[str, Float[Tensor, ""]]


@runtime_checkable
class Network(Protocol):
    """The functions of a world model that the loss calls: those of `WorldModel`, compiled or not.

    Where the latents are not trained and were computed before, `encode` takes the latents themselves.
    """

    def encode(self, frames: Tensor, /) -> Tensor:
        """Embeddings of frames, (B, T, D)."""

    def predict(self, latents: Tensor, actions: Tensor, /) -> Tensor:
        """The next latent after each step, teacher-forced."""


class Objective(nn.Module):
    """A loss with all that it learns beside the model, such as a head; its parameters are trained like the model's.

    A kind of objective is a class derived from this one, a section of the configuration with its `weights`, and a line
    in `lewm.training.objectives.OBJECTIVES`.

    Args:
        settings: The objective's section of the configuration.
        model: The world model's section.
        seed: Seed of the training. Initial weights are drawn from PyTorch's generator, as usual; what is drawn later
            is a function of the seed and the step.
    """

    def __init__(self, settings: Any, model: cfg.Model, seed: int) -> None:  # noqa: ANN401 - the section of its kind
        super().__init__()

    def forward(
        self,
        model: Network,
        frames: Shaped[Tensor, "B T ..."],
        actions: Float[Tensor, "B T A"],
        step: int,
        ranks: Ranks,
    ) -> Loss:
        """The loss of a batch.

        Args:
            model: The world model, in training mode, so that BatchNorm normalises over the batch.
            frames: What `model.encode` takes: frames of the clips or, where the latents are not trained, the latents
                of these frames. T is the predictor's history + 1.
            actions: Normalised blocks; the last is not used.
            step: Number of steps that are done; with the seed it decides what is drawn anew each step.
            ranks: The processes whose batches together make one.
        """
        raise NotImplementedError


def weighted(terms: dict[str, Float[Tensor, ""]], weights: Mapping[str, float]) -> Loss:
    """The loss with these terms, which have to have the names of the weights.

    Raises:
        LewmError: they have other names.
    """
    if set(terms) != set(weights):
        raise LewmError(
            f"the objective gives the terms {', '.join(sorted(terms))}, and its section weighs "
            f"{', '.join(sorted(weights))}",
            "Give the terms of `forward` the names that `weights` of the section has.",
        )
    first, *others = (weights[name] * term for name, term in terms.items())
    return Loss(sum(others, first), terms)


def prediction_error(
    model: Network, latents: Float[Tensor, "B T D"], actions: Float[Tensor, "B T A"]
) -> Float[Tensor, ""]:
    """Mean squared error of the predicted embeddings.

    The first T - 1 embeddings predict the last T - 1 (teacher forcing); gradient flows into the targets too.
    """
    predicted = model.predict(latents[:, :-1], actions[:, :-1])
    return (predicted - latents[:, 1:]).float().square().mean()
