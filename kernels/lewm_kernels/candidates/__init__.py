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
    """Samples of each environment's Gaussian over plans, with independent elements; the first sample is the mean.

    The noise of candidate s in block h and action dimension a is element s·H·A + h·A + a of the environment's stream
    in `lewm_kernels.normal`: a function of the seed and the stream alone. Nothing waits for the device, so a CUDA graph
    can capture the call. There is no gradient.

    Args:
        seed: The 64-bit key.
        streams: Three numbers for each environment, such as (episode, replan, iteration), taken modulo 2^32.
        mean: Mean of each environment's plan.
        std: Standard deviation of each environment's plan.
        samples: S, the number of candidates of each environment.
        backend: "auto", "torch" or "triton". auto takes the one that the environment variable LEWM_KERNELS names, else
            Triton where it runs and torch elsewhere; `lewm doctor` shows which and why.

        Raises:
            ValueError: If shapes, dtypes or devices disagree, `samples` is below 1, the seed does not fit in 64 bits,
                the backend is unknown, or it cannot run here.
    """
    return Sampler(seed, streams[None], samples, backend=backend)(0, mean, std)


class Sampler:
    """Draws the `candidates` of one iteration after the other.

    The streams of all iterations are known from the start, their Gaussians are not. So PyTorch draws the noise of
    several iterations at once where that is faster, which changes no number.

    Args:
        seed: The 64-bit key.
        streams: The streams of every iteration; see `candidates`.
        samples: S.
        backend: The backend; see `candidates`.
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
