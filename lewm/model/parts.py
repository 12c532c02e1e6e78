"""The bases of the parts of a world model, which every kind derives from.

B frames, W width of an encoder's embedding, N sequences, T time in blocks, D latent width.
"""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from lewm.model.rows import at_least_min_rows


class Encoder(nn.Module):
    """Turns each frame into one vector: the base of every kind of encoder.

    `forward` takes frames that are scaled and normalised, (B, 3, Y, X), and returns their embeddings, (B, W). In eval
    mode the embedding of a frame does not depend on the frames beside it: on a CPU with one thread bit for bit, else up
    to rounding, see `lewm.model.rows`.

    Attributes:
        width: W.
    """

    width: int


class Predictor(nn.Module):
    """Turns latents and actions into the next latents: the base of every kind of predictor.

    `forward` takes latents and embedded actions, both (N, T, D) with T at most `history`, and returns the following
    latent at each step before the projector, (N, T, D). A step sees the steps up to it and none after it.

    What leaves the projector of a `residual` kind is the change from each latent to the following one.

    Nothing else is asked of a kind. A kind whose tensors have the names and meanings that `lewm_kernels.rollout.pack`
    reads also states its `heads`: plans then use that operator. Every other kind is called step by step.

    Attributes:
        history: Most latents that it sees.
        heads: Heads of every layer's attention, where the kind can be packed; None where it cannot.
        residual: Whether the latents are added to what leaves the projector.
    """

    history: int
    heads: int | None = None
    residual: bool = False


class Projector(nn.Sequential):
    """Linear, BatchNorm, GELU, Linear. The normalisation is what lets SIGReg shape the latent (paper, section 3).

    Args:
        width: W.
        hidden: Width of the middle layer.
        out: D.
        norm: "batch", or "none" for a projector without BatchNorm.
    """

    def __init__(self, width: int, hidden: int, out: int, norm: str) -> None:
        between = nn.BatchNorm1d(hidden) if norm == "batch" else nn.Identity()
        super().__init__(nn.Linear(width, hidden), between, nn.GELU(), nn.Linear(hidden, out))

    def forward(self, x: Float[Tensor, "*batch W"]) -> Float[Tensor, "*batch D"]:
        """Projects each row by itself in eval mode; in training mode BatchNorm pools over all leading dimensions."""
        rows = x.flatten(0, -2)
        forward: Callable[[Tensor], Tensor] = super().forward
        out: Tensor = forward(rows) if self.training else at_least_min_rows(forward, rows)
        return out.unflatten(0, x.shape[:-1])
