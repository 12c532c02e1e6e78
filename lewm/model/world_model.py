"""The world model: it turns frames into latents, and latents and actions into the next latents.

B batch or environments, T time in blocks, L context length, D latent width, S candidates, H horizon in blocks,
A action-block width, P = L - 1 past blocks, Y and X the sides of a frame.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from lewm import config as cfg
from lewm.errors import LewmError
from lewm.model.actions import BlockBounds, BlockStatistics
from lewm.model.frames import check_frames, fitted, warn_if_reshaped
from lewm.model.parts import Encoder, Predictor
from lewm.runtime import physical_memory
from lewm_kernels.rollout import Packed, check_context, pack, reference, rollout

PIXEL_MEAN = (0.485, 0.456, 0.406)  # ImageNet, as released
PIXEL_STD = (0.229, 0.224, 0.225)
EMBED_CHUNK = 64  # frames that are encoded together on a CPU, and the fewest elsewhere
MEMORY_SHARE = 16  # elsewhere they may fill a sixteenth of the device's memory
ACTIVATIONS = 16  # memory of encoding / memory of its frames in float32, at most: 6 for ViT-Tiny, 3 to 8 for ours


class WorldModel(nn.Module):
    """LeWorldModel.

    Made by `lewm.model.build`, and by nothing else.

    Attributes:
        config: Kinds and sizes of the parts; enough to rebuild the module.
        action_mean: Mean of each action dimension in the training data, (action_dim,); NaN when unknown.
        action_std: Standard deviation of each action dimension there; 1 for one that never varies, such as a choice
            that is never made.
        action_low: The least value of each action dimension, in environment units; -inf where it is unknown.
        action_high: The greatest value of each action dimension; inf where it is unknown. A dimension whose least and
            greatest value are equal is planned with that value alone.

    Source: arXiv 2603.19312; equal to the released code at its weights (tests/lewm/test_released.py).
    """

    action_mean: Tensor
    action_std: Tensor
    action_low: Tensor
    action_high: Tensor

    def __init__(
        self,
        config: cfg.Model,
        encoder: Encoder,
        projector: nn.Module,
        action_embedder: nn.Module,
        predictor: Predictor,
        prediction_projector: nn.Module,
    ) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.projector = projector
        self.action_embedder = action_embedder
        self.predictor = predictor
        self.prediction_projector = prediction_projector
        self.register_buffer("action_mean", torch.full((config.action_dim,), torch.nan))
        self.register_buffer("action_std", torch.full((config.action_dim,), torch.nan))
        self.register_buffer("action_low", torch.full((config.action_dim,), -torch.inf))
        self.register_buffer("action_high", torch.full((config.action_dim,), torch.inf))
        self.register_buffer("_pixel_mean", torch.tensor(PIXEL_MEAN)[:, None, None], persistent=False)
        self.register_buffer("_pixel_std", torch.tensor(PIXEL_STD)[:, None, None], persistent=False)

    @property
    def history(self) -> int:
        """Most latents the predictor sees."""
        return self.predictor.history

    @property
    def device(self) -> torch.device:
        """The device that the weights are on."""
        return self.action_mean.device

    def encode(self, frames: Tensor) -> Float[Tensor, "B T D"]:
        """Embeddings of frames, which may lie on any device and have any size; `config.fit` makes them square.

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
        """The next latent after each step, teacher-forced: step t sees steps 0..t. Actions are normalised blocks.

        Raises:
            ValueError: L exceeds the predictor's history.
        """
        if latents.shape[1] > self.history:
            raise ValueError(f"{latents.shape[1]} latents, but the predictor sees at most {self.history}")
        made: Tensor = self.prediction_projector(self.predictor(latents, self.action_embedder(actions)))
        return latents + made if self.predictor.residual else made

    def rollout(
        self,
        latents: Float[Tensor, "B L D"],
        candidates: Float[Tensor, "B S H A"],
        history: Float[Tensor, "B P A"] | None = None,
    ) -> Float[Tensor, "B S H D"]:
        """The latents after each of a candidate's H action blocks, in float32.

        The predictor sees the last `history` latents; when that window slides, positions start again from 0. Where a
        gradient is asked for, this computes the definition of `lewm_kernels.rollout`, which is differentiable and takes
        several times as long; else it packs the weights and calls the operator. To roll out many times, pack once. A
        model that cannot be packed predicts step by step, with a gradient too, in the mode that it is in.

        Args:
            latents: Context, oldest first.
            candidates: Normalised action blocks; the first is taken from the last context latent.
            history: The L - 1 blocks executed between the context's latents; needed when L > 1.

        Raises:
            ValueError: `history` is missing or has another length than L - 1.
        """
        inputs = (latents, candidates) if history is None else (latents, candidates, history)
        check_context(latents, history)
        if not self.packs:
            return self.roll_by_steps(*inputs)
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (*inputs, *self.parameters())):
            heads = self.predictor.heads
            assert heads is not None
            weights, residual = self.state_dict(keep_vars=True), self.predictor.residual
            return reference.rollout(weights, *inputs, heads=heads, residual=residual)
        return rollout(self.pack(), *inputs)

    def roll_by_steps(
        self,
        latents: Float[Tensor, "B L D"],
        candidates: Float[Tensor, "B S H A"],
        history: Float[Tensor, "B P A"] | None = None,
    ) -> Float[Tensor, "B S H D"]:
        """`rollout` by the modules themselves: any model can do it, with a gradient, in the mode that it is in."""
        if isinstance(self.prediction_projector, nn.Identity) and not self.predictor.residual:
            past = None if history is None else self.action_embedder(history)
            return self.predictor.rollout(latents, self.action_embedder(candidates), past)
        return reference.step_by_step(self.predict, latents, candidates, history, longest=self.history)

    @property
    def packs(self) -> bool:
        """Whether `pack` can take the model. One that it cannot take is rolled out by `predict`, step by step."""
        return self.packing_obstacle is None

    @property
    def packing_obstacle(self) -> str | None:
        """Why `pack` cannot take the model; None where it can."""
        kind, embedder = self.config.predictor.kind, self.config.action_embedder
        if self.predictor.heads is None:
            return f'there is no kernel for the predictor "{kind}"'
        if embedder.hidden is None:
            return "the action embedder is a single map (model.action_embedder.hidden is none), and a pack needs two"
        if self.config.predictor.projector_hidden is None:
            return "no projector follows the predictor (model.predictor.projector_hidden is none), and a pack needs one"
        return None

    def pack(self, precision: str = "fp32") -> Packed:
        """A snapshot of the weights for `lewm_kernels.rollout`, which computes as in eval mode.

        Args:
            precision: Precision of the matrix products: "fp32", "tf32" (on CUDA devices) or "bf16".

        Raises:
            LewmError: The model cannot be packed: see `packing_obstacle`.
            ValueError: The precision is unknown, or it is tf32 on another device than CUDA.
        """
        heads, obstacle = self.predictor.heads, self.packing_obstacle
        if heads is None or obstacle is not None:
            raise LewmError(f"the model cannot be packed: {obstacle}", "Call its rollout, which predicts step by step.")
        return pack(self.state_dict(), heads=heads, precision=precision, residual=self.predictor.residual)

    def normalize_actions(self, blocks: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch A"]:
        """Turns action blocks in environment units into z-scores.

        Raises:
            LewmError: There are no usable action statistics: see `block_statistics`, which each call takes anew.
        """
        return self.block_statistics().normalize(blocks)

    def denormalize_actions(self, blocks: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch A"]:
        """The inverse of `normalize_actions`."""
        return self.block_statistics().denormalize(blocks)

    def block_statistics(self) -> BlockStatistics:
        """A copy of the action statistics, for whole blocks. They are checked, and the host waits for the device: take
        them once before a loop, not in it.

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

        The host waits for the device.

        Args:
            every: Whether all bounds are given; if not, only those of dimensions that are held at one value.
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
        """Frames resized, scaled to [0, 1] and normalised, in the dtype of the weights."""
        # In memory the frames already lie as a channels-last copy of (N, 3, Y, X) would.
        pixels = frames.permute(0, 3, 1, 2)
        size = self.config.frame_size
        if pixels.shape[-2:] != (size, size):
            if not torch.compiler.is_compiling():  # the compiler would trace the log; training has warned before
                warn_if_reshaped(*frames.shape[1:3], (size, size), self.config.fit)
            pixels = fitted(pixels, (size, size), self.config.fit, _resize)
        pixels = pixels.to(self.action_mean.dtype) / 255
        return (pixels - self._pixel_mean) / self._pixel_std  # type: ignore[operator]


def _resize(pixels: UInt8[Tensor, "N 3 Y X"], size: tuple[int, int]) -> UInt8[Tensor, "N 3 V U"]:
    """Frames at another size, in whole levels, which a CPU resizes faster than fractions.

    Devices round differently: a value may differ by one level of 255.
    """
    if pixels.device.type == "cpu":
        return F.interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=True)
    smooth = F.interpolate(pixels.float(), size, mode="bilinear", align_corners=False, antialias=True)
    return smooth.round().to(torch.uint8)
