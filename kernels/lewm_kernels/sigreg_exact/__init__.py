"""SIGReg over all directions at once, which a sketch of random directions estimates.

Shapes: T leading indices (time steps), N embeddings of this process, D latent width, K knots.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from jaxtyping import Float
from torch import Tensor, cat, distributed, float32, is_grad_enabled, library, promote_types

from lewm_kernels._ranks import gather_over_ranks, name_of, sum_over_ranks
from lewm_kernels.sigreg_exact import torch as pytorch


def sigreg_exact(
    z: Float[Tensor, "*T N D"],
    knots: Float[Tensor, " K"],
    *,
    group: distributed.ProcessGroup | None = None,
) -> Float[Tensor, "*T"]:
    """The mean of `sigreg` over all directions, for every leading index: 0 for a perfect standard normal.

    It does not change when the embeddings are rotated, and has no noise of random directions. Time grows with N²,
    memory with N. It is differentiable once, and with respect to `z` alone.

    The first call for a latent width and knots makes tables, which takes some tenths of a second. They end at
    distances of 16 √D. Where a distance may be larger, everything is computed in float64, and the pairs beyond the
    tables without them, which takes many times longer. To find this out, every call waits for the device once.

    With a process group, the sample is the embeddings of all its processes together, and every process gets the same
    result. Backward adds up the processes' upstream gradients, as for `sigreg`.

    Args:
        z: Embeddings of any floating dtype and layout. 16-bit ones are computed in float32, and autocast is ignored. On
            MPS, which has no float64, the CPU computes them.
        knots: Increasing numbers from 0 to the end of the integral; the paper has 17 up to 3. The host reads them: keep
            them on the CPU even when `z` is on an accelerator.
        group: The processes that share a sample. N may differ between them; everything else has to be the same. Each
            process holds the embeddings of all processes, and computes the pairs of its own embeddings with all.

    Returns:
        The statistic in the dtype of `z`, at least float32.

    Raises:
        ValueError: If a dimension is empty, the knots do not increase from 0 or require a gradient, or this process is
            not in the group.
        RuntimeError: If a second derivative is asked for (`create_graph=True`).

    Source: derived from LeWorldModel's SIGReg loss; `lewm_kernels.sigreg_exact.reference` has the derivation.
    """
    _check(z, knots)
    flat = z.reshape(-1, *z.shape[-2:])  # (T, N, D)
    wants_gradient = is_grad_enabled() and z.requires_grad
    name = name_of(group, "sigreg_exact")
    rank, ranks = (group.rank(), group.size()) if group else (0, 1)
    statistic: Tensor = _sigreg_exact(flat, knots, wants_gradient, name, rank, ranks)[0]
    return statistic.view(z.shape[:-2])


def _check(z: Tensor, knots: Tensor) -> None:
    if z.ndim < 2 or 0 in z.shape:
        raise ValueError(
            f"sigreg_exact: expected z (..., N, D) of at least one embedding, got {tuple(z.shape)}.\n"
            "Drop empty batches before the loss."
        )
    if knots.ndim != 1 or len(knots) < 2:
        raise ValueError(
            f"sigreg_exact: expected at least 2 knots of shape (K,), got {tuple(knots.shape)}.\n"
            "Use torch.linspace(0, 3, 17)."
        )
    if knots.requires_grad:
        raise ValueError("sigreg_exact: knots require a gradient, which is not defined here.\nPass knots.detach().")


def _increasing(knots: Tensor) -> tuple[float, ...]:
    t: list[float] = knots.tolist()
    if t[0] != 0 or not all(a < b < float("inf") for a, b in pairwise(t)):
        shown = ", ".join(f"{t_k:.4g}" for t_k in t[:4])
        raise ValueError(
            f"sigreg_exact: expected knots that increase from 0, got {shown}, … ({len(t)} in all).\n"
            "Use torch.linspace(0, 3, 17)."
        )
    return tuple(t)


@library.custom_op(
    "lewm_kernels::sigreg_exact",
    mutates_args=(),
    schema="(Tensor z, Tensor knots, bool with_gradient, str? group, int rank, int ranks) -> (Tensor, Tensor)",
)
def _sigreg_exact(
    z: Tensor, knots: Tensor, with_gradient: bool, group: str | None, rank: int, ranks: int
) -> tuple[Tensor, Tensor]:
    t = _increasing(knots)
    device = "cpu" if z.device.type == "mps" else z.device  # MPS has no float64
    sample = z.to(device, promote_types(z.dtype, float32))
    first = 0
    if group is not None:
        parts = gather_over_ranks(sample.transpose(0, 1), group, ranks)
        sample = cat(parts).transpose(0, 1)  # (T, N of all, D)
        first = sum(map(len, parts[:rank]))
    statistic, gradient = pytorch.statistic_and_gradient(sample, slice(first, first + z.shape[1]), t, with_gradient)
    if group is not None:
        statistic = sum_over_ranks(statistic, group)
    return statistic.to(z.device, sample.dtype), gradient.to(z.device)


@_sigreg_exact.register_fake
def _(z: Tensor, knots: Tensor, with_gradient: bool, group: str | None, rank: int, ranks: int) -> tuple[Tensor, Tensor]:
    dtype = promote_types(z.dtype, float32)
    gradient_shape = z.shape if with_gradient else (0,)
    return z.new_empty(z.shape[0], dtype=dtype), z.new_empty(gradient_shape, dtype=dtype)


def _setup_context(
    ctx: Any,  # noqa: ANN401 - PyTorch hands over whatever carries the attributes set here
    inputs: tuple[Tensor, Tensor, bool, str | None, int, int],
    output: tuple[Tensor, Tensor],
) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(output[1])
    ctx.dtype, ctx.group = inputs[0].dtype, inputs[3]


def _backward(
    ctx: Any,  # noqa: ANN401
    upstream: Tensor | None,
    _: Tensor | None,
) -> tuple[Tensor | None, ...]:
    if is_grad_enabled():
        raise RuntimeError("sigreg_exact: only the first derivative exists.\nCall backward without create_graph=True.")
    others = (None,) * 5  # z alone has a gradient
    if upstream is None:
        return None, *others
    if ctx.group is not None:
        upstream = sum_over_ranks(upstream, ctx.group)
    (gradient,) = ctx.saved_tensors
    return (upstream[:, None, None] * gradient).to(ctx.dtype), *others


_sigreg_exact.register_autograd(_backward, setup_context=_setup_context)
