"""LeWorldModel's two-term loss.

B clips, T frames a clip, A action-block width.
"""

from __future__ import annotations

from jaxtyping import Float, Shaped
from torch import Tensor

from lewm import config as cfg
from lewm.ranks import Ranks
from lewm.training.objectives.loss import Loss, Network, Objective, prediction_error, weighted
from lewm.training.objectives.sigreg import SIGREGS


class LewmObjective(Objective):
    """Next-embedding prediction error plus λ times SIGReg, which is computed for each time step over the clips.

    Source: arXiv 2603.19312, section 3.
    """

    def __init__(self, settings: cfg.LewmObjective, model: cfg.Model, seed: int) -> None:
        super().__init__(settings, model, seed)
        self.weights = settings.weights()
        self.sigreg = cfg.line_of(SIGREGS, "SIGREGS", settings.sigreg)(settings.sigreg, model.latent, seed)

    def forward(
        self,
        model: Network,
        frames: Shaped[Tensor, "B T ..."],
        actions: Float[Tensor, "B T A"],
        step: int,
        ranks: Ranks,
    ) -> Loss:
        """Computes the loss: see `Objective.forward`."""
        latents = model.encode(frames)
        prediction = prediction_error(model, latents, actions)
        statistic = self.sigreg(latents.float().transpose(0, 1), step, ranks).mean()
        return weighted({"prediction": prediction, "sigreg": statistic}, self.weights)
