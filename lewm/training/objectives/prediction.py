"""The prediction error alone.

B clips, T frames a clip, A action-block width.
"""

from __future__ import annotations

from jaxtyping import Float, Shaped
from torch import Tensor

from lewm import config as cfg
from lewm.ranks import Ranks
from lewm.training.objectives.loss import Loss, Network, Objective, prediction_error, weighted


class PredictionObjective(Objective):
    """Next-embedding prediction error: the first term of LeWorldModel's loss, for latents that are not trained."""

    def __init__(self, settings: cfg.PredictionObjective, model: cfg.Model, seed: int) -> None:
        super().__init__(settings, model, seed)
        self.weights = settings.weights()

    def forward(
        self,
        model: Network,
        frames: Shaped[Tensor, "B T ..."],
        actions: Float[Tensor, "B T A"],
        step: int,
        ranks: Ranks,
    ) -> Loss:
        """Computes the loss: see `Objective.forward`. Nothing is drawn."""
        return weighted({"prediction": prediction_error(model, model.encode(frames), actions)}, self.weights)
