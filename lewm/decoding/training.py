"""Training a decoder on frozen latents, each of which is computed once.

N frames, D latent width, Y and X the sides of a frame.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from lewm.decoding.decoder import CHUNK, Decoder, DecoderSettings
from lewm.model.world_model import WorldModel
from lewm_data.store.dataset import Dataset

LEAST_ERROR = 1e-8  # least error of the mean image that others are divided by: it is 0 where all frames are equal


@dataclass(frozen=True)
class Examples:
    """Latents and their frames at the decoder's size, on the model's device."""

    latents: Float[Tensor, "N D"]
    frames: UInt8[Tensor, "N Y X 3"]


@dataclass(frozen=True)
class Fidelity:
    """How far to trust the pictures, on frames that neither the model nor the decoder was trained on.

    Attributes:
        error: Mean squared error of a pixel's three values in [0, 1].
        mean_image: The error where every frame is taken for the mean image.
    """

    error: float
    mean_image: float


def shown_size(frame_size: tuple[int, int], longest_side: int) -> tuple[int, int]:
    """Y and X of decoded frames: the frame's own, or scaled down to `longest_side`."""
    scale = min(1.0, longest_side / max(frame_size))
    return max(1, round(frame_size[0] * scale)), max(1, round(frame_size[1] * scale))


def shrink(frames: UInt8[Tensor, "N Y X 3"], size: tuple[int, int]) -> UInt8[Tensor, "N Y2 X2 3"]:
    """Frames at another size (bilinear, antialiased); the frames themselves where they have that size."""
    if frames.shape[1:3] == size:
        return frames
    pixels = frames.permute(0, 3, 1, 2).float()
    resized = F.interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=True)
    return resized.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def draw_rows(dataset: Dataset, episodes: Int64[np.ndarray, " E"], count: int, seed: int) -> Int64[np.ndarray, " N"]:
    """Different rows of `episodes`, at most `count`, ascending; a function of the arguments alone."""
    rows = dataset.rows(episodes)
    return np.sort(np.random.default_rng([seed, len(rows)]).permutation(rows)[:count])


@torch.inference_mode()
def encode_rows(model: WorldModel, dataset: Dataset, rows: Int64[np.ndarray, " N"], size: tuple[int, int]) -> Examples:
    """Latents of the frames at `rows`, and the frames at `size`; read, encoded and shrunk a few at a time."""
    latents, shown = [], []
    for some in np.array_split(rows, max(1, -(-len(rows) // CHUNK))):
        frames = torch.from_numpy(dataset.frames(some)).to(model.device)
        latents.append(model.embed(frames).float())
        shown.append(shrink(frames, size))
    return Examples(torch.cat(latents), torch.cat(shown))


def train_decoder(
    examples: Examples, settings: DecoderSettings, on_progress: Callable[[float], None] = lambda share: None
) -> Decoder:
    """A decoder that turns these latents into these frames; on a CPU, equal arguments give equal decoders.

    The loss is the squared error of the pixels as a share of the mean image's, so that small things on a plain
    background weigh as much as large ones elsewhere.

    Args:
        examples: Examples from the episodes that the model was trained on.
        settings: Sizes, steps and the seed.
        on_progress: Called with the share of the steps that is done.
    """
    size = (examples.frames.shape[1], examples.frames.shape[2])
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(settings.seed)
        decoder = Decoder(examples.latents.shape[1], size, settings)
    decoder.to(examples.latents.device)
    latents, frames = examples.latents.clone(), examples.frames  # autograd takes the clone, but no inference tensor
    decoder.fit_statistics(latents, frames)
    unit = max(LEAST_ERROR, _mean_image_error(decoder, frames))
    optimizer = torch.optim.AdamW(decoder.parameters(), weight_decay=settings.weight_decay)
    generator = torch.Generator().manual_seed(settings.seed)
    for step in range(settings.steps):
        for group in optimizer.param_groups:
            group["lr"] = _learning_rate(settings, step)
        chosen = torch.randint(len(latents), (settings.batch,), generator=generator).to(latents.device)
        loss = F.mse_loss(decoder.draw(latents[chosen]), frames[chosen].float() / 255) / unit
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), settings.gradient_clip)
        optimizer.step()
        on_progress((step + 1) / settings.steps)
    return decoder.eval()


@torch.inference_mode()
def measure_fidelity(decoder: Decoder, examples: Examples) -> Fidelity:
    """Errors on held-out examples."""
    squares = 0.0
    for latents, frames in zip(examples.latents.split(CHUNK), examples.frames.split(CHUNK), strict=True):
        squares += float((decoder(latents) - frames.float() / 255).square().sum())
    return Fidelity(squares / examples.frames.numel(), _mean_image_error(decoder, examples.frames))


@torch.inference_mode()
def _mean_image_error(decoder: Decoder, frames: UInt8[Tensor, "N Y X 3"]) -> float:
    squares = (float((chunk.float() / 255 - decoder.mean_image).square().sum()) for chunk in frames.split(CHUNK))
    return sum(squares) / frames.numel()


def _learning_rate(settings: DecoderSettings, step: int) -> float:
    warmup = min(1.0, (step + 1) / settings.warmup)
    return settings.learning_rate * warmup * (1 + math.cos(math.pi * step / settings.steps)) / 2
