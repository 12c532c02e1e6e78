"""The forms of SIGReg, and their table.

T time steps, N clips, D latent width, K knots, S subspaces, W = D / S the width of a subspace.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

import lewm_kernels
from lewm import config as cfg
from lewm.ranks import Ranks


class Sigreg(nn.Module):
    """The statistic in one of its forms.

    Args:
        settings: The section of this form in the configuration.
        latent: D.
        seed: Seed of the training.
    """

    def __init__(self, settings: Any, latent: int, seed: int) -> None:  # noqa: ANN401 - the section of its kind
        super().__init__()
        # They are no buffer, so that they stay on the CPU: the host reads them.
        self.knots = torch.linspace(0, settings.knot_max, settings.knots)  # (K,)

    def forward(self, latents: Float[Tensor, "T N D"], step: int, ranks: Ranks) -> Float[Tensor, " T"]:
        """The statistic of each time step, over the clips of all processes.

        Args:
            latents: The latents, in float32.
            step: Number of steps that are done.
            ranks: The processes whose clips together make one sample.
        """
        raise NotImplementedError


class Sketch(Sigreg):
    """The mean over random directions: a function of the seed and the step."""

    def __init__(self, settings: cfg.Sketch, latent: int, seed: int) -> None:
        super().__init__(settings, latent, seed)
        self.seed, self.count = seed, settings.directions

    def forward(self, latents: Float[Tensor, "T N D"], step: int, ranks: Ranks) -> Float[Tensor, " T"]:
        """Computes the statistic: see `Sigreg.forward`."""
        directions = lewm_kernels.RandomDirections(self.seed, step, self.count)
        return lewm_kernels.sigreg(latents, directions, self.knots, group=ranks.group)


class Exact(Sigreg):
    """The mean over all directions."""

    def forward(self, latents: Float[Tensor, "T N D"], step: int, ranks: Ranks) -> Float[Tensor, " T"]:
        """Computes the statistic: see `Sigreg.forward`. Nothing depends on the step."""
        return lewm_kernels.sigreg_exact(latents, self.knots, group=ranks.group)


class Subspaces(Sigreg):
    """The mean of the sketches in random subspaces of equal width, which are orthogonal and make up the whole latent.

    The subspaces are drawn once and not learnt. All of them have the same directions, which are drawn anew each step.

    Source: Sub-JEPA, arXiv 2605.09241.
    """

    bases: Tensor

    def __init__(self, settings: cfg.Subspaces, latent: int, seed: int) -> None:
        super().__init__(settings, latent, seed)
        self.seed, self.count = seed, settings.directions
        orthogonal = nn.init.orthogonal_(torch.empty(latent, latent))
        self.register_buffer("bases", orthogonal.unflatten(0, (settings.subspaces, -1)).mT.contiguous())  # (S, D, W)

    def forward(self, latents: Float[Tensor, "T N D"], step: int, ranks: Ranks) -> Float[Tensor, " T"]:
        """Computes the statistic: see `Sigreg.forward`."""
        with torch.autocast(latents.device.type, enabled=False):
            inside = latents[:, None] @ self.bases  # (T, S, N, W)
        directions = lewm_kernels.RandomDirections(self.seed, step, self.count)
        return lewm_kernels.sigreg(inside, directions, self.knots, group=ranks.group).mean(dim=1)


SIGREGS: dict[str, type[Sigreg]] = {"sketch": Sketch, "exact": Exact, "subspaces": Subspaces}
