"""Candidates in PyTorch. Their noise is a separate function: it does not depend on the mean and can be drawn before.

Shapes: N streams, B environments, S candidates, H horizon in blocks, A action-block width.
"""

from __future__ import annotations

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from lewm_kernels._tiles import tile_elements
from lewm_kernels.philox import normal


def noise(seed: int, streams: Int64[Tensor, "N 3"], samples: int, H: int, A: int) -> Float32[Tensor, "N S H A"]:
    """Normal numbers, with zeros for the first candidate, which is the mean."""
    drawn = normal(seed, streams, samples * H * A).unflatten(1, (samples, H, A))
    drawn[:, 0] = 0
    return drawn


def iterations_together(device: torch.device, numbers: int) -> int:
    """The number of iterations whose `noise`, of `numbers` each, should be drawn at once.

    The numbers of one environment are too few for a call: most of its time would be overhead. More than a tile would
    cost memory without a gain.
    """
    return max(1, tile_elements(device) // numbers)


def scaled(
    noise: Float32[Tensor, "B S H A"], mean: Float32[Tensor, "B H A"], std: Float32[Tensor, "B H A"]
) -> Float32[Tensor, "B S H A"]:
    """The candidates with this noise."""
    return torch.addcmul(mean[:, None], std[:, None], noise)
