"""An encoder of one's own: every patch goes through the same map, then all of them through one linear map.

    lewm --import examples/extend_encoder.py train --set model.encoder.kind=patches --set model.encoder.patch=16

B frames, W width of the embedding.
"""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from lewm import config
from lewm.config.limits import Pixels, Width
from lewm.model.assembly import ENCODERS
from lewm.model.parts import Encoder
from lewm.model.rows import at_least_min_rows


class PatchEncoder(config.Encoder):
    """Its settings."""

    kind: Literal["patches"] = "patches"
    patch: Pixels = 8
    width: Width = 128

    def width_at(self, frame_size: int) -> int:
        """Gives `width` for frames of every size."""
        return self.width

    def check_frame(self, frame_size: int) -> None:
        """Raises unless patches fill the frame."""
        if frame_size % self.patch:
            raise ValueError(f"frame_size {frame_size} is not a multiple of patch {self.patch}")


class Patches(Encoder):
    """Turns normalised frames into one vector each."""

    def __init__(self, settings: PatchEncoder, frame_size: int) -> None:
        super().__init__()
        self.width = settings.width
        patches = (frame_size // settings.patch) ** 2
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, settings.patch, settings.patch),  # (B, 16, Y / patch, X / patch)
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(16 * patches, settings.width),
        )

    def forward(self, frames: Float[Tensor, "B 3 Y X"]) -> Float[Tensor, "B W"]:
        """Embeds frames; a frame's embedding is the same alone and in any batch."""
        return self.layers(frames) if self.training else at_least_min_rows(self.layers, frames)


ENCODERS["patches"] = Patches
