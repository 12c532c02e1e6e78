"""An encoder that is not trained.

B frames, W width of the embedding.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from lewm.model.parts import Encoder, Projector


class Frozen(Encoder):
    """Another encoder, alone or followed by the projector that was trained with it, always in eval mode.

    Its parameters ask for no gradient, and its BatchNorm and Dropout stay as they are. They are saved with the weights.

    Args:
        encoder: What is frozen.
        projector: The projector that follows it; None where the embedding itself is given.
        width: Width of what comes out.
    """

    def __init__(self, encoder: Encoder, projector: Projector | None, width: int) -> None:
        super().__init__()
        self.encoder, self.projector, self.width = encoder, projector, width
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Frozen:
        """Stays in eval mode, whatever `mode` says."""
        return super().train(False)

    def forward(self, frames: Float[Tensor, "B 3 Y X"]) -> Float[Tensor, "B W"]:
        """Embeds frames that are scaled and normalised, of the configured size."""
        embeddings = self.encoder(frames)
        return embeddings if self.projector is None else self.projector(embeddings)
