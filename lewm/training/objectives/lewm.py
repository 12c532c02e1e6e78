"""LeWorldModel's two-term loss, and a third term that can be added to it.

B clips, T frames a clip, D latent width, A action-block width.
"""

from __future__ import annotations

from jaxtyping import Float, Shaped
from torch import Tensor

from lewm import config as cfg
from lewm.ranks import Ranks
from lewm.training.objectives.loss import Loss, Network, Objective, prediction_error, weighted
from lewm.training.objectives.sigreg import SIGREGS

# Added to the square of a step's length: the gradient of the cosine then has a bound, and steps much shorter than a
# thousandth have no direction. Latents that SIGReg spreads lie about √(2 D) apart.
SHORTEST = 1e-6


class LewmObjective(Objective):
    """Next-embedding prediction error plus λ times SIGReg, which is computed for each time step over the clips.

    Where `straightening` has a weight, minus the mean cosine of the angle between successive steps is added.

    Source: arXiv 2603.19312, section 3; straightening is that of arXiv 2603.12231.
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
        terms = {"prediction": prediction, "sigreg": statistic}
        if "straightening" in self.weights:
            terms["straightening"] = -straightness(latents.float())
        return weighted(terms, self.weights)


def straightness(latents: Float[Tensor, "B T D"]) -> Float[Tensor, ""]:
    """The mean cosine between each step from one latent to the next and the step after it; T is at least 3.

    A step of length 0 has a cosine of 0.
    """
    steps = latents.diff(dim=1)  # (B, T - 1, D)
    lengths = (steps.square().sum(dim=-1) + SHORTEST).sqrt()
    products = (steps[:, 1:] * steps[:, :-1]).sum(dim=-1)
    return (products / (lengths[:, 1:] * lengths[:, :-1])).mean()
