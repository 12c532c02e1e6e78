"""The definition of `lewm_kernels.candidates`, in the order of the words that describe it.

Shapes: B environments, S candidates, H horizon in blocks, A action-block width.
"""

from __future__ import annotations

from jaxtyping import Float, Int64
from torch import Tensor

from lewm_kernels.philox import normal


def candidates(
    seed: int,
    streams: Int64[Tensor, "B 3"],
    mean: Float[Tensor, "B H A"],
    std: Float[Tensor, "B H A"],
    samples: int,
) -> Float[Tensor, "B S H A"]:
    """Computes `lewm_kernels.candidates` in the dtype of `mean`.

    Source: LeWorldModel, section 4, and the released code, whose candidate 0 is the mean.
    """
    H, A = mean.shape[1:]
    noise = normal(seed, streams, samples * H * A).unflatten(1, (samples, H, A)).to(mean.dtype)
    noise[:, 0] = 0
    return mean[:, None] + std[:, None] * noise
