"""PLDM's loss of seven terms.

B clips, T frames a clip, D latent width, A action-block width, G groups of N samples.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from lewm import config as cfg
from lewm.ranks import Ranks
from lewm.training.objectives.loss import Loss, Network, Objective, prediction_error, weighted

VARIANCE_FLOOR = 1e-4  # below the root: the slope of a standard deviation of 0 is finite


class PldmObjective(Objective):
    """Prediction error, terms that spread the latents over clips and over time, and two that link successive latents.

    Here e (B, T, D) are the embeddings, z is e minus its means over the B clips, and relu(x) = max(x, 0):

        prediction  mean square of the predicted minus the true next embedding
        std         mean over T and D of relu(1 - sqrt(var_B(z) + 1e-4))
        cov         mean over T of the squares of C outside its diagonal, their sum divided by D² - D, with
                    C = zᵀz / (B - 1)
        std_t       std with B and T exchanged: the variance is taken over the times of each clip
        cov_t       cov with B and T exchanged: C = zᵀz / (T - 1) for each clip
        align       mean square of e_{t+1} - e_t; gradient flows into both
        idm         mean square of the action block minus what a network with one hidden layer tells from (e_{t+1}, e_t)

    Variances divide by the number of samples minus one. A term of weight 0 is left out: it is not computed, not
    logged, and has no network.

    Source: arXiv 2502.14819, in the form of stable-worldmodel 0.1.1.
    """

    def __init__(self, settings: cfg.PldmObjective, model: cfg.Model, seed: int) -> None:
        super().__init__(settings, model, seed)
        self.weights = settings.weights()
        if "idm" in self.weights:
            hidden = settings.idm_hidden
            self.inverse_dynamics = nn.Sequential(
                nn.Linear(2 * model.latent, hidden),
                nn.LayerNorm(hidden),
                nn.GELU(),
                nn.Linear(hidden, model.action_block),
            )

    def forward(
        self,
        model: Network,
        frames: Shaped[Tensor, "B T ..."],
        actions: Float[Tensor, "B T A"],
        step: int,
        ranks: Ranks,
    ) -> Loss:
        """Computes the loss: see `Objective.forward`. Nothing is drawn, and only this process's clips are used."""
        latents = model.encode(frames)
        e = latents.float()
        z = e - e.mean(dim=0)
        compute = {
            "prediction": lambda: prediction_error(model, latents, actions),
            "std": lambda: lack_of_spread(z.transpose(0, 1)),
            "cov": lambda: covariance(z.transpose(0, 1)),
            "std_t": lambda: lack_of_spread(z),
            "cov_t": lambda: covariance(z),
            "align": lambda: (e[:, 1:] - e[:, :-1]).square().mean(),
            "idm": lambda: self._action_error(e, actions),
        }
        return weighted({name: compute[name]() for name in self.weights}, self.weights)

    def _action_error(self, e: Float[Tensor, "B T D"], actions: Float[Tensor, "B T A"]) -> Float[Tensor, ""]:
        told = self.inverse_dynamics(torch.cat([e[:, 1:], e[:, :-1]], dim=-1))  # (B, T - 1, A)
        return F.mse_loss(told.float(), actions[:, :-1])


def lack_of_spread(z: Float[Tensor, "G N D"]) -> Float[Tensor, ""]:
    """How far the standard deviations over N are below 1, averaged over groups and dimensions."""
    return F.relu(1 - (z.var(dim=1) + VARIANCE_FLOOR).sqrt()).mean()


def covariance(z: Float[Tensor, "G N D"]) -> Float[Tensor, ""]:
    """Mean square of the covariances over N of different dimensions, averaged over groups; z has to be centred."""
    _, samples, width = z.shape
    with torch.autocast(z.device.type, enabled=False):
        squares = (z.mT @ z / (samples - 1)).square()  # (G, D, D)
    among_two = squares.sum(dim=(1, 2)) - squares.diagonal(dim1=1, dim2=2).sum(dim=1)
    return (among_two / (width**2 - width)).mean()
