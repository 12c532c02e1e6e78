"""The world model: frames to latents, latents and actions to the next latents.

B batch or environments, T time in blocks, L context length, D latent width, S candidates, H horizon in blocks,
A action-block width, P = L - 1 past blocks, Y and X the sides of a frame.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from lewm import config as cfg
from lewm.errors import LewmError
from lewm.model.conv_encoder import ConvolutionalEncoder
from lewm.model.predictor import ActionEmbedder, Predictor
from lewm.model.rows import at_least_min_rows
from lewm.model.vision_transformer import VisionTransformer

PIXEL_MEAN = (0.485, 0.456, 0.406)  # ImageNet, as released
PIXEL_STD = (0.229, 0.224, 0.225)
EMBED_CHUNK = 64  # frames


class Projector(nn.Sequential):
    """Linear, BatchNorm, GELU, Linear. The normalisation is what lets SIGReg shape the latent (paper, section 3)."""

    def __init__(self, width: int, hidden: int, out: int) -> None:
        super().__init__(nn.Linear(width, hidden), nn.BatchNorm1d(hidden), nn.GELU(), nn.Linear(hidden, out))

    def forward(self, x: Float[Tensor, "*batch W"]) -> Float[Tensor, "*batch D"]:
        """Each row by itself in eval mode; in training mode BatchNorm pools over all leading dimensions."""
        rows = x.flatten(0, -2)
        forward: Callable[[Tensor], Tensor] = super().forward
        out: Tensor = forward(rows) if self.training else at_least_min_rows(forward, rows)
        return out.unflatten(0, x.shape[:-1])


class WorldModel(nn.Module):
    """LeWorldModel.

    Attributes:
        config: Sizes; enough to rebuild the module.
        action_mean: Mean of each action dimension in the training data, (action_dim,); NaN when unknown.
        action_std: Likewise the standard deviation.

    Source: arXiv 2603.19312; equal to the released code at its weights (tests/lewm/test_golden.py).
    """

    action_mean: Tensor
    action_std: Tensor

    def __init__(self, config: cfg.Model) -> None:
        super().__init__()
        self.config = config
        encoder = config.encoder
        self.encoder: nn.Module
        if isinstance(encoder, cfg.VitEncoder):
            self.encoder = VisionTransformer(encoder, config.frame_size)
        else:
            self.encoder = ConvolutionalEncoder(encoder, config.frame_size)
        self.projector = Projector(encoder.width, config.projector_hidden, config.latent)
        self.action_embedder = ActionEmbedder(config.action_embedder, config.action_block, config.latent)
        self.predictor = Predictor(config.predictor, config.latent)
        self.prediction_projector = Projector(config.latent, config.projector_hidden, config.latent)
        self.register_buffer("action_mean", torch.full((config.action_dim,), torch.nan))
        self.register_buffer("action_std", torch.full((config.action_dim,), torch.nan))
        self.register_buffer("_pixel_mean", torch.tensor(PIXEL_MEAN)[:, None, None], persistent=False)
        self.register_buffer("_pixel_std", torch.tensor(PIXEL_STD)[:, None, None], persistent=False)

    @property
    def history(self) -> int:
        """Most latents the predictor sees."""
        return self.config.predictor.history

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.action_mean.device

    def encode(self, frames: UInt8[Tensor, "B T Y X 3"]) -> Float[Tensor, "B T D"]:
        """Embeddings of frames, which may lie on any device and have any size."""
        pixels = self._pixels(frames.to(self.device).flatten(0, 1))
        return self.projector(self.encoder(pixels).unflatten(0, frames.shape[:2]))

    def embed(self, frames: UInt8[Tensor, "N Y X 3"]) -> Float[Tensor, "N D"]:
        """Embeddings of single frames, any number of them: encoded in chunks."""
        return torch.cat([self.encode(chunk[None])[0] for chunk in frames.split(EMBED_CHUNK)])

    def predict(self, latents: Float[Tensor, "B L D"], actions: Float[Tensor, "B L A"]) -> Float[Tensor, "B L D"]:
        """Next latent after each step, teacher forced: step t sees steps 0..t. Actions are normalised blocks.

        Raises:
            ValueError: L exceeds the predictor's history.
        """
        if latents.shape[1] > self.history:
            raise ValueError(f"{latents.shape[1]} latents, but the predictor sees at most {self.history}")
        modulations = self.predictor.modulate(self.action_embedder(actions))
        return self.prediction_projector(self.predictor(latents, modulations))

    def rollout(
        self,
        latents: Float[Tensor, "B L D"],
        candidates: Float[Tensor, "B S H A"],
        history: Float[Tensor, "B P A"] | None = None,
    ) -> Float[Tensor, "B S H D"]:
        """Latents that each candidate's H action blocks lead to, one after the other.

        The predictor sees the last `history` latents; when that window slides, positions start again from 0.

        Args:
            latents: Context, oldest first.
            candidates: Normalised action blocks; the first is taken from the last context latent.
            history: The L - 1 blocks executed between the context's latents; needed when L > 1.

        Raises:
            ValueError: `history` is missing or has another length than L - 1.
        """
        B, S, H, _ = candidates.shape
        L = latents.shape[1]
        blocks = candidates.flatten(0, 1)  # (B S, H, A)
        if L > 1:
            if history is None or history.shape[1] != L - 1:
                got = "none" if history is None else history.shape[1]
                raise ValueError(f"a context of {L} latents needs {L - 1} executed blocks, got {got}")
            blocks = torch.cat([history.repeat_interleave(S, dim=0), blocks], dim=1)  # (B S, L-1+H, A)
        modulations = self.predictor.modulate(self.action_embedder(blocks))
        trajectory = latents.repeat_interleave(S, dim=0)  # (B S, L, D), grows by one a step
        for end in range(L, L + H):
            begin = max(0, end - self.history)
            window = [modulation[:, begin:end] for modulation in modulations]
            predicted = self.predictor(trajectory[:, begin:end], window)[:, -1:]
            trajectory = torch.cat([trajectory, self.prediction_projector(predicted)], dim=1)
        return trajectory[:, L:].unflatten(0, (B, S))

    def normalize_actions(self, blocks: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch A"]:
        """Action blocks in environment units to z-scores.

        Raises:
            LewmError: the checkpoint has no action statistics.
        """
        mean, std = self._block_statistics()
        return (blocks - mean) / std

    def denormalize_actions(self, blocks: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch A"]:
        """The inverse of `normalize_actions`."""
        mean, std = self._block_statistics()
        return blocks * std + mean

    def _block_statistics(self) -> tuple[Tensor, Tensor]:
        if bool(self.action_mean.isnan().any()):
            raise LewmError(
                "this checkpoint has no action statistics, which planning in environment units needs",
                "Set model.action_mean and model.action_std from the dataset it was trained on.",
            )
        return self.action_mean.repeat(self.config.frameskip), self.action_std.repeat(self.config.frameskip)

    def _pixels(self, frames: UInt8[Tensor, "N Y X 3"]) -> Float[Tensor, "N 3 Z Z"]:
        """Resized, scaled to [0, 1] and normalised, in the dtype of the weights."""
        # a channels-last copy of (N, 3, Y, X) is what the frames already are in memory
        pixels = frames.permute(0, 3, 1, 2).to(self.action_mean.dtype) / 255
        size = self.config.frame_size
        if pixels.shape[-2:] != (size, size):
            pixels = F.interpolate(pixels, (size, size), mode="bilinear", align_corners=False, antialias=True)
        return (pixels - self._pixel_mean) / self._pixel_std  # type: ignore[operator]
