"""A loss term of one's own, with a head: LeWM's two terms, and a third by which latents tell the action between them.

    lewm --import examples/extend_objective.py train --set objective.kind=lewm-inverse --set objective.inverse=0.5

B clips, T frames a clip, A action-block width, D latent width.
"""

from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float, Shaped
from pydantic import Field
from torch import Tensor, nn

from lewm import config
from lewm.ranks import Ranks
from lewm.training.objectives import OBJECTIVES, Loss, Network, Objective
from lewm.training.objectives.loss import prediction_error, weighted
from lewm.training.objectives.sigreg import SIGREGS


class LewmInverse(config.LewmObjective):
    """Its settings: those of LeWM's loss, and the weight of the third term."""

    kind: Literal["lewm-inverse"] = "lewm-inverse"  # type: ignore[assignment]
    inverse: Annotated[float, Field(ge=0)] = 0.1

    def weights(self) -> dict[str, float]:
        """The weights of all three terms."""
        return super().weights() | {"inverse": self.inverse}


class LewmInverseObjective(Objective):
    """The head is a linear map from two successive latents to the action block between them."""

    def __init__(self, settings: LewmInverse, model: config.Model, seed: int) -> None:
        super().__init__(settings, model, seed)
        self.weights = settings.weights()
        self.sigreg = SIGREGS[settings.sigreg.kind](settings.sigreg, model.latent, seed)
        self.head = nn.Linear(2 * model.latent, model.action_block)

    def forward(
        self,
        model: Network,
        frames: Shaped[Tensor, "B T ..."],
        actions: Float[Tensor, "B T A"],
        step: int,
        ranks: Ranks,
    ) -> Loss:
        """The loss of a batch."""
        latents = model.encode(frames)  # (B, T, D)
        between: Any = self.head(torch.cat([latents[:, :-1], latents[:, 1:]], dim=-1))  # (B, T - 1, A)
        terms = {
            "prediction": prediction_error(model, latents, actions),
            "sigreg": self.sigreg(latents.float().transpose(0, 1), step, ranks).mean(),
            "inverse": (between - actions[:, :-1]).float().square().mean(),
        }
        return weighted(terms, self.weights)


OBJECTIVES["lewm-inverse"] = LewmInverseObjective
