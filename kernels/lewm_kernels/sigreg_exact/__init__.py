"""SIGReg over all directions at once: what a sketch of random directions estimates.

Shapes: T leading indices (time steps), N embeddings of this process, D latent width, K knots.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor, distributed, float32, is_grad_enabled, library, promote_types

from lewm_kernels._ranks import gather_over_ranks, name_of, sum_over_ranks
from lewm_kernels.sigreg_exact import torch as pytorch


def sigreg_exact(
    z: Float[Tensor, "*T N D"],
    knots: Float[Tensor, " K"],
    *,
    group: distributed.ProcessGroup | None = None,
) -> Float[Tensor, "*T"]:
    """The mean of `sigreg` over all directions, for every leading index: 0 for a perfect standard normal.

    It does not change when the embeddings are rotated, and it has no noise of random directions. Time grows with N², and
    memory with N. Differentiable once, and with respect to `z` alone. The first call for a latent width and knots makes
    tables, which takes some tenths of a second. Embeddings far from the origin, about 8 √D and more, are computed right
    in float64, but many times slower. Every call waits for the device once, to see whether there are any.

    With a process group, the sample is the embeddings of all its processes together, and every process gets the same
    result. Backward adds up the processes' upstream gradients, as that of `sigreg` does.

    Args:
        z: Embeddings of any floating dtype and layout. 16-bit ones are computed in float32, and autocast is ignored.
        knots: Increasing from 0 up to the end of the integral; the paper has 17 up to 3. The host reads them: keep them
            on the CPU even when `z` is on an accelerator.
        group: The processes that share a sample. N may differ between them; everything else has to be the same. Each
            process holds the embeddings of all, and computes the pairs of its own with them.

    Returns:
        The statistic in the dtype of `z`, at least float32.

    Raises:
        ValueError: If a dimension is empty, the knots do not increase from 0 or require a gradient, or this process is not
            in the group.
        RuntimeError: If a second derivative is asked for (`create_graph=True`).

    Source: derived from LeWorldModel's SIGReg loss; `lewm_kernels.sigreg_exact.reference` has the derivation.
    """
    _check(z, knots)
    flat = z.reshape(-1, *z.shape[-2:])  # (T, N, D)
    wants_gradient = is_grad_enabled() and z.requires_grad
    statistic: Tensor = _sigreg_exact(flat, knots, wants_gradient, name_of(group, "sigreg_exact"))[0]
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
    if t[0] != 0 or not all(a < b < float("inf") for a, b in zip(t, t[1:], strict=False)):
        shown = ", ".join(f"{t_k:.4g}" for t_k in t[:4])
        raise ValueError(
            f"sigreg_exact: expected knots that increase from 0, got {shown}, … ({len(t)} in all).\n"
            "Use torch.linspace(0, 3, 17)."
        )
    return tuple(t)


@library.custom_op(
    "lewm_kernels::sigreg_exact",
    mutates_args=(),
    schema="(Tensor z, Tensor knots, bool with_gradient, str? group) -> (Tensor, Tensor)",
)
def _sigreg_exact(z: Tensor, knots: Tensor, with_gradient: bool, group: str | None) -> tuple[Tensor, Tensor]:
    dtype, t, N = promote_types(z.dtype, float32), _increasing(knots), z.shape[1]
    if group is None:
        statistic, gradient = pytorch.statistic_and_gradient(z.to(dtype), slice(0, N), t, with_gradient)
        return statistic.to(dtype), gradient
    sample, first = gather_over_ranks(z.to(dtype).transpose(0, 1), group)  # (N of all, T, D)
    rows = slice(first, first + N)
    statistic, gradient = pytorch.statistic_and_gradient(sample.transpose(0, 1), rows, t, with_gradient)
    return sum_over_ranks(statistic, group).to(dtype), gradient


@_sigreg_exact.register_fake
def _(z: Tensor, knots: Tensor, with_gradient: bool, group: str | None) -> tuple[Tensor, Tensor]:
    dtype = promote_types(z.dtype, float32)
    gradient_shape = z.shape if with_gradient else (0,)
    return z.new_empty(z.shape[0], dtype=dtype), z.new_empty(gradient_shape, dtype=dtype)


def _setup_context(
    ctx: Any,  # noqa: ANN401 - PyTorch hands over whatever carries the attributes set here
    inputs: tuple[Tensor, Tensor, bool, str | None],
    output: tuple[Tensor, Tensor],
) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(output[1])
    ctx.dtype, ctx.group = inputs[0].dtype, inputs[-1]


def _backward(
    ctx: Any,  # noqa: ANN401
    upstream: Tensor | None,
    _: Tensor | None,
) -> tuple[Tensor | None, None, None, None]:
    if is_grad_enabled():
        raise RuntimeError(
            "sigreg_exact: only the first derivative exists.\nCall backward without create_graph=True."
        )
    if upstream is None:
        return None, None, None, None
    if ctx.group is not None:
        upstream = sum_over_ranks(upstream, ctx.group)
    (gradient,) = ctx.saved_tensors
    return (upstream[:, None, None] * gradient).to(ctx.dtype), None, None, None


_sigreg_exact.register_autograd(_backward, setup_context=_setup_context)
