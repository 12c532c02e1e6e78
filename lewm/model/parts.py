"""The bases of the parts of a world model, which every kind derives from.

B frames or environments, W width of an encoder's embedding, N sequences, T time in blocks, D latent width, E width of
an embedded action, S candidates, H horizon in blocks, L context length.
"""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from lewm.model.rows import at_least_min_rows
from lewm_kernels.rollout.reference import step_by_step


class Encoder(nn.Module):
    """Turns each frame into one vector: the base of every kind of encoder.

    A kind whose embedding is a map, a vector for each of P patches of the frame, gives it channel after channel, each
    row by row: number c P + p is channel c of patch p. So maps of the same patches that are put side by side are one
    map again, with the channels of both.

    `forward` takes frames that are scaled and normalised, (B, 3, Y, X), and returns their embeddings, (B, W). In eval
    mode the embedding of a frame does not depend on the frames beside it: on a CPU with one thread bit for bit, else up
    to rounding, see `lewm.model.rows`.

    Attributes:
        width: W.
    """

    width: int


class Predictor(nn.Module):
    """Turns latents and actions into the next latents: the base of every kind of predictor.

    `forward` takes latents (N, T, D) and embedded actions (N, T, E) with T at most `history`, and returns the following
    latent at each step before the projector, (N, T, D). A step sees the steps up to it and none after it. E is what its
    section gives as `embedded_action`: D, where it says nothing else.

    What leaves the projector of a `residual` kind is the change from each latent to the following one.

    Nothing else is asked of a kind. A kind whose tensors have the names and meanings that `lewm_kernels.rollout.pack`
    reads also states its `heads`: plans then use that operator. Every other kind is called step by step.

    Attributes:
        history: Most latents that it sees.
        heads: Heads of every layer's attention, where the kind can be packed; None where it cannot.
        residual: Whether the latents are added to what leaves the projector.
        tokens: Tokens that a latent has in its layers.
    """

    history: int
    heads: int | None = None
    residual: bool = False
    tokens: int = 1

    def rollout(
        self,
        latents: Float[Tensor, "B L D"],
        actions: Float[Tensor, "B S H E"],
        history: Float[Tensor, "B X E"] | None = None,
    ) -> Float[Tensor, "B S H D"]:
        """The latents after each block of candidates, where no projector follows and it gives the latents themselves.

        It is called where the model cannot be packed. A kind may have a faster way that gives the same.

        Args:
            latents: The context, oldest first; the predictor sees at most the last `history` latents.
            actions: Embedded blocks of the candidates, the first from the last latent of the context on.
            history: The X = L - 1 embedded blocks between the latents of the context; None where L is 1.
        """
        return step_by_step(self, latents, actions, history, longest=self.history)


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
