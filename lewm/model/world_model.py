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
from lewm.memory import FLOAT, check_memory
from lewm.model.actions import BlockBounds, BlockStatistics
from lewm.model.conv_encoder import ConvolutionalEncoder
from lewm.model.frames import check_frames, warn_if_stretched
from lewm.model.predictor import ActionEmbedder, Predictor
from lewm.model.rows import at_least_min_rows
from lewm.model.vision_transformer import VisionTransformer
from lewm.runtime import physical_memory
from lewm_kernels.rollout import Packed, check_context, pack, reference, rollout

PIXEL_MEAN = (0.485, 0.456, 0.406)  # ImageNet, as released
PIXEL_STD = (0.229, 0.224, 0.225)
EMBED_CHUNK = 64  # frames that are encoded together on a CPU, and the fewest elsewhere
MEMORY_SHARE = 16  # elsewhere they may fill a sixteenth of the device's memory
ACTIVATIONS = 16  # bytes that encoding takes, by those of its frames in float32: 6 for ViT-Tiny, 3 to 8 for ours


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


def parameter_count(config: cfg.Model) -> int:
    """How many numbers are learnt in a model of this configuration; none is allocated."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in WorldModel(config).parameters())


class WorldModel(nn.Module):
    """LeWorldModel.

    Attributes:
        config: Sizes; enough to rebuild the module.
        action_mean: Mean of each action dimension in the training data, (action_dim,); NaN when unknown.
        action_std: Likewise the standard deviation; 1 for what never varies, such as a choice that is never made.
        action_low: The least value of each action dimension, in environment units; -inf where it is unknown.
        action_high: Likewise the greatest; inf where it is unknown. Where both are one value, nothing else is planned.

    Raises:
        LewmError: The weights need more memory than the machine has.

    Source: arXiv 2603.19312; equal to the released code at its weights (tests/lewm/test_official.py).
    """

    action_mean: Tensor
    action_std: Tensor
    action_low: Tensor
    action_high: Tensor

    def __init__(self, config: cfg.Model) -> None:
        super().__init__()
        if torch.get_default_device().type != "meta":
            remedy = "Lower the sizes in model: frame_size, and the widths, depths and heads of its parts."
            check_memory(FLOAT * parameter_count(config), torch.device("cpu"), "the model", remedy)
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
        self.register_buffer("action_low", torch.full((config.action_dim,), -torch.inf))
        self.register_buffer("action_high", torch.full((config.action_dim,), torch.inf))
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

    def encode(self, frames: Tensor) -> Float[Tensor, "B T D"]:
        """Embeddings of frames, which may lie on any device and have any size; other shapes are stretched to a square.

        Args:
            frames: uint8 (B, T, Y, X, 3).

        Raises:
            LewmError: The frames have another dtype or shape.
        """
        check_frames(frames, "B T Y X 3")
        pixels = self._pixels(frames.to(self.device).flatten(0, 1))
        return self.projector(self.encoder(pixels).unflatten(0, frames.shape[:2]))

    def embed(self, frames: Tensor) -> Float[Tensor, "N D"]:
        """Embeddings of single frames, any number of them: encoded in chunks.

        Args:
            frames: uint8 (N, Y, X, 3).

        Raises:
            LewmError: The frames have another dtype or shape.
        """
        check_frames(frames, "N Y X 3")
        return torch.cat([self.encode(chunk[None])[0] for chunk in frames.split(self._frames_together())])

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
        """Latents that each candidate's H action blocks lead to, one after the other, in float32.

        The predictor sees the last `history` latents; when that window slides, positions start again from 0. Where a
        gradient is asked for, this is the definition of `lewm_kernels.rollout`, which takes several times as long and
        is differentiable; else it packs the weights and calls the operator. Pack once to roll out many times.

        Args:
            latents: Context, oldest first.
            candidates: Normalised action blocks; the first is taken from the last context latent.
            history: The L - 1 blocks executed between the context's latents; needed when L > 1.

        Raises:
            ValueError: `history` is missing or has another length than L - 1.
        """
        inputs = (latents, candidates) if history is None else (latents, candidates, history)
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (*inputs, *self.parameters())):
            check_context(latents, history)
            return reference.rollout(self.state_dict(keep_vars=True), *inputs, heads=self.config.predictor.heads)
        return rollout(self.pack(), *inputs)

    def pack(self, precision: str = "fp32") -> Packed:
        """A snapshot of the weights for `lewm_kernels.rollout`, as in eval mode.

        Args:
            precision: Of the matrix products: "fp32", "tf32" (on CUDA devices) or "bf16".

        Raises:
            ValueError: The precision is unknown, or it is tf32 on another device than CUDA.
        """
        return pack(self.state_dict(), heads=self.config.predictor.heads, precision=precision)

    def normalize_actions(self, blocks: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch A"]:
        """Action blocks in environment units to z-scores.

        Raises:
            LewmError: As `block_statistics`, which each call takes anew.
        """
        return self.block_statistics().normalize(blocks)

    def denormalize_actions(self, blocks: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch A"]:
        """The inverse of `normalize_actions`."""
        return self.block_statistics().denormalize(blocks)

    def block_statistics(self) -> BlockStatistics:
        """A copy of the action statistics, for whole blocks. They are checked, and the host waits for the device: in a
        loop, take them once before it.

        Raises:
            LewmError: the checkpoint has no action statistics, or a standard deviation is 0.
        """
        if bool(self.action_mean.isnan().any()):
            raise LewmError(
                "this checkpoint has no action statistics, which planning in environment units needs",
                "Set model.action_mean and model.action_std from the dataset it was trained on.",
            )
        if not bool((self.action_std > 0).all()):
            raise LewmError(
                f"the standard deviations of the actions are {self.action_std.tolist()}, expected above 0",
                "Set model.action_std to 1 where an action never varies; see lewm_data.store.clips.action_statistics.",
            )
        frameskip = self.config.frameskip
        return BlockStatistics(self.action_mean.repeat(frameskip), self.action_std.repeat(frameskip))

    def block_bounds(self, every: bool) -> BlockBounds | None:
        """A copy of the action bounds, in environment units and for whole blocks; None where there are none.

        Args:
            every: All of them; else those alone whose dimensions are held at one value. The host waits for the device.
        """
        bounded = torch.full_like(self.action_low, every, dtype=torch.bool) | (self.action_low == self.action_high)
        low = self.action_low.where(bounded, -torch.inf)
        high = self.action_high.where(bounded, torch.inf)
        if not bool((low.isfinite() | high.isfinite()).any()):
            return None
        frameskip = self.config.frameskip
        return BlockBounds(low.repeat(frameskip), high.repeat(frameskip))

    def _frames_together(self) -> int:
        if self.device.type == "cpu":
            return EMBED_CHUNK
        one = ACTIVATIONS * 4 * 3 * self.config.frame_size**2  # bytes
        return max(EMBED_CHUNK, physical_memory(self.device) // MEMORY_SHARE // one)

    def _pixels(self, frames: UInt8[Tensor, "N Y X 3"]) -> Float[Tensor, "N 3 Z Z"]:
        """Resized, scaled to [0, 1] and normalised, in the dtype of the weights."""
        # a channels-last copy of (N, 3, Y, X) is what the frames already are in memory
        pixels = frames.permute(0, 3, 1, 2).to(self.action_mean.dtype) / 255
        size = self.config.frame_size
        if pixels.shape[-2:] != (size, size):
            if not torch.compiler.is_compiling():  # the compiler would trace the log; training has said it before
                warn_if_stretched(*frames.shape[1:3], (size, size))
            pixels = F.interpolate(pixels, (size, size), mode="bilinear", align_corners=False, antialias=True)
        return (pixels - self._pixel_mean) / self._pixel_std  # type: ignore[operator]
