"""Candidate plans of a search: normal numbers, scaled and shifted.

Shapes: I iterations, B environments, S candidates, H horizon in blocks, A action-block width.
"""

from __future__ import annotations

# No `import torch` here: importing the submodule of that name rebinds it in this namespace.
from importlib import import_module

from jaxtyping import Float32, Int64
from torch import Tensor, float32

from lewm_kernels.candidates import torch as pytorch
from lewm_kernels.dispatch import choose


def candidates(
    seed: int,
    streams: Int64[Tensor, "B 3"],
    mean: Float32[Tensor, "B H A"],
    std: Float32[Tensor, "B H A"],
    samples: int,
    *,
    backend: str = "auto",
) -> Float32[Tensor, "B S H A"]:
    """Samples of a Gaussian over plans, one an environment, all elements independent; the first sample is the mean.

    The noise of candidate s in block h and action dimension a is element s·H·A + h·A + a of the environment's stream,
    as `lewm_kernels.normal` has it: a function of the seed and the stream alone. Nothing waits for the device, so a
    CUDA graph can capture the call. There is no gradient.

    Args:
        seed: The 64-bit key.
        streams: Three numbers an environment, such as (episode, replan, iteration), taken modulo 2^32.
        mean: Of each environment's plan.
        std: Likewise.
        samples: S, candidates of each environment.
        backend: "auto", "torch" or "triton". auto takes Triton where it runs and torch elsewhere, or what the
            environment variable LEWM_KERNELS says; `lewm doctor` shows which and why.

    Raises:
        ValueError: If shapes, dtypes or devices disagree, there is not one sample, the seed does not fit in 64 bits, or
            the backend is unknown or cannot run here.
    """
    return Sampler(seed, streams[None], samples, backend=backend)(0, mean, std)


class Sampler:
    """`candidates` of one iteration after the other.

    Their streams are known from the start and their Gaussians are not. So PyTorch draws the noise of several iterations
    at once while that is faster, which changes no number.

    Args:
        seed: The 64-bit key.
        streams: As for `candidates`, of every iteration.
        samples: S.
        backend: As for `candidates`.
    """

    def __init__(self, seed: int, streams: Int64[Tensor, "I B 3"], samples: int, *, backend: str = "auto") -> None:
        if not 0 <= seed < 1 << 64:
            raise ValueError(f"candidates: expected a seed in [0, 2^64), got {seed}.")
        if samples < 1:
            raise ValueError(f"candidates: expected at least one sample, got {samples}.")
        self.seed, self.streams, self.samples = seed, streams, samples
        self.backend = choose("candidates", streams.device, backend).backend
        self._first, self._noise = 0, streams.new_empty(0, dtype=float32)

    def __call__(
        self, iteration: int, mean: Float32[Tensor, "B H A"], std: Float32[Tensor, "B H A"]
    ) -> Float32[Tensor, "B S H A"]:
        """Candidates of one iteration, from its Gaussian."""
        self._check(mean, std)
        if self.backend == "triton":
            kernels = import_module(f"{__name__}.triton")
            drawn: Tensor = kernels.candidates(self.seed, self.streams[iteration], mean, std, self.samples)
            return drawn
        B, H, A = mean.shape
        if not self._first <= iteration < self._first + len(self._noise):
            together = pytorch.iterations_together(mean.device, B * self.samples * H * A)
            streams = self.streams[iteration : iteration + together]
            noise = pytorch.noise(self.seed, streams.flatten(0, 1), self.samples, H, A)
            self._first, self._noise = iteration, noise.unflatten(0, (-1, B))
        return pytorch.scaled(self._noise[iteration - self._first], mean, std)

    def _check(self, mean: Tensor, std: Tensor) -> None:
        B = self.streams.shape[1]
        if mean.ndim != 3 or mean.shape != std.shape or len(mean) != B or 0 in mean.shape:
            raise ValueError(
                f"candidates: expected mean and std ({B}, H, A), one an environment as there are streams, got "
                f"{tuple(mean.shape)} and {tuple(std.shape)}."
            )
        for name, tensor in (("mean", mean), ("std", std)):
            if tensor.dtype != float32 or tensor.device != self.streams.device:
                raise ValueError(
                    f"candidates: expected {name} in float32 on {self.streams.device}, where the streams are, got "
                    f"{tensor.dtype} on {tensor.device}."
                )
