"""Tells by nearest neighbours among thumbnails whether a picture looks like those that the model was trained on.

N pictures, M training pictures, P values of a thumbnail.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

THUMBNAIL = 16  # pixels a side


def thumbnails(frames: UInt8[Tensor, "N Y X 3"]) -> UInt8[Tensor, "N P"]:
    """Frames averaged down to 16 × 16 pixels, flattened."""
    parts = []
    for chunk in frames.split(64):
        small = F.interpolate(chunk.permute(0, 3, 1, 2).float(), (THUMBNAIL, THUMBNAIL), mode="area")
        parts.append(small.round().to(torch.uint8).flatten(1))
    return torch.cat(parts)


def nearest_distance(pictures: UInt8[Tensor, "N P"], known: UInt8[Tensor, "M P"]) -> Float[Tensor, " N"]:
    """Root mean squared difference, in grey levels, of each picture from the nearest known one."""
    distances = [torch.cdist(chunk.float(), known.float()).amin(dim=1) for chunk in pictures.split(256)]
    return torch.cat(distances) / known.shape[1] ** 0.5


def unfamiliarity(frames: UInt8[Tensor, "N Y X 3"], known: UInt8[Tensor, "M P"], usual: Float[Tensor, " R"]) -> float:
    """How unlike the training frames some frames are; above 1, their median is farther from them than any clean frame.

    Args:
        frames: The frames, for example the first of a video.
        known: Thumbnails of training frames.
        usual: `nearest_distance` of clean frames that were not trained on, ascending.
    """
    distance = nearest_distance(thumbnails(frames).to(known.device), known).median()
    return float(distance / usual[-1].clamp_min(0.5))  # half a grey level is rounding
