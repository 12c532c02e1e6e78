"""Random numbers of a search: they depend on its keys alone, and are the same for an environment in any batch.

B environments, S candidates, H horizon in blocks, A action-block width, T = H × frameskip environment steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from lewm.planning.plan import Keys
from lewm_kernels.candidates.torch import iterations_together

# `lewm_kernels.normal` or `lewm_kernels.uniform`.
Draw = Callable[[int, Int64[Tensor, "N 3"], int], Float32[Tensor, "N count"]]


def drawn(draw: Draw, keys: Keys, iterations: int, count: int) -> Iterator[Float32[Tensor, "B count"]]:
    """Yields `count` numbers for each environment, for one iteration after the other.

    The numbers of several iterations are drawn at once where that is faster, which changes no number.
    """
    streams = keys.streams(iterations)  # (I, B, 3)
    for some in streams.split(iterations_together(streams.device, streams.shape[1] * count)):
        yield from draw(keys.seed, some.flatten(0, 1), count).unflatten(0, (len(some), -1))


def coloured(white: Float32[Tensor, "B S H A"], exponent: float, frameskip: int) -> Float32[Tensor, "B S H A"]:
    """Noise whose power falls along environment steps as frequency^-exponent, from white noise.

    Each dimension of an action is a series over all T steps of a plan. It is the white noise, convolved around the end
    with the filter whose gain is frequency^(-exponent / 2). A mean over the series, which has no frequency, gets the
    gain of the lowest one. Every number keeps the variance 1. Exponent 0 leaves the noise white; with a larger one,
    steps that follow each other are more alike.

    The sum over steps is a chain of elementwise operations, so that no batch changes its order. Nothing waits for the
    device.

    Source: Timmer and Koenig, "On generating power law noise" (1995), as used by Pinneri et al., arXiv 2008.06389.
    """
    B, S, H, A = white.shape
    T = H * frameskip
    frequency = torch.arange(T // 2 + 1, device=white.device).clamp(min=1)
    kernel = torch.fft.irfft(frequency.to(white.dtype) ** (-exponent / 2), n=T)
    kernel = kernel / kernel.square().sum().sqrt()
    series = white.view(B, S, T, A // frameskip)
    noise = torch.zeros_like(series)
    for step in range(T):
        noise += kernel.roll(step)[:, None] * series[:, :, step, None]
    return noise.view(B, S, H, A)
