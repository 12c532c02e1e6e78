"""SIGReg: how far embeddings are from an isotropic normal distribution, seen along random directions.

Shapes: T leading indices (time steps), N embeddings, D latent width, M directions, K knots.
"""

from __future__ import annotations

# No `import torch` here: importing the submodule of that name rebinds it in this namespace.
from typing import Any

from jaxtyping import Float
from torch import Tensor, float32, is_grad_enabled, library, promote_types

from lewm_kernels.sigreg.torch import statistic_and_gradient

# The largest error of a knot, as a part of the last: eight float32 roundings.
_KNOT_TOLERANCE = 1e-6


def sigreg(
    z: Float[Tensor, "*T N D"], directions: Float[Tensor, "D M"], knots: Float[Tensor, " K"]
) -> Float[Tensor, "*T"]:
    """Statistic of every leading index, averaged over directions: 0 for a perfect standard normal.

    Differentiable once, and with respect to `z` alone. The embeddings of one leading index are one sample;
    the training loss is the mean of the result.

    Args:
        z: Embeddings of any floating dtype and layout. 16-bit ones are computed in float32, and autocast is
            ignored.
        directions: Unit columns, for example from `lewm_kernels.directions`.
        knots: 0, δ, 2δ, … up to the end of the integral; the paper has 17 up to 3. The host reads them: keep
            them on the CPU even when `z` is on an accelerator.

    Returns:
        The statistic in the dtype of `z`, at least float32.

    Raises:
        ValueError: If shapes disagree, a dimension is empty, the knots are not uniform from 0, or
            `directions` or `knots` require a gradient.
        RuntimeError: If a second derivative is asked for (`create_graph=True`).

    Source: LeWorldModel, the SIGReg loss; `lewm_kernels.sigreg.reference` has it in the paper's order.
    """
    _check_shapes(z, directions, knots)
    flat = z.reshape(-1, *z.shape[-2:])  # (T, N, D)
    wants_gradient = is_grad_enabled() and z.requires_grad
    statistic: Tensor = _sigreg(flat, directions, knots, wants_gradient)[0]
    return statistic.view(z.shape[:-2])


def _check_shapes(z: Tensor, directions: Tensor, knots: Tensor) -> None:
    if z.ndim < 2 or directions.ndim != 2 or z.shape[-1] != directions.shape[0]:
        raise ValueError(
            f"sigreg: expected z (..., N, D) and directions (D, M) of one D, got {tuple(z.shape)} and "
            f"{tuple(directions.shape)}. Directions are columns: transpose them if they are rows."
        )
    if 0 in z.shape or 0 in directions.shape:
        raise ValueError(
            f"sigreg: expected at least one embedding and one direction, got z {tuple(z.shape)} and "
            f"directions {tuple(directions.shape)}. Drop empty batches before the loss."
        )
    if knots.ndim != 1 or len(knots) < 2:
        raise ValueError(
            f"sigreg: expected at least 2 knots of shape (K,), got {tuple(knots.shape)}. Use torch.linspace(0, 3, 17)."
        )
    if directions.requires_grad or knots.requires_grad:
        name = "directions" if directions.requires_grad else "knots"
        raise ValueError(f"sigreg: {name} require a gradient, which is not defined here. Pass {name}.detach().")


def _knot_distance(knots: Tensor) -> float:
    """The distance δ of uniform knots 0, δ, 2δ, …"""
    t: list[float] = knots.tolist()
    delta = t[-1] / (len(t) - 1)
    if not delta > 0 or any(abs(t_k - k * delta) > _KNOT_TOLERANCE * t[-1] for k, t_k in enumerate(t)):
        shown = ", ".join(f"{t_k:.4g}" for t_k in t[:4])
        raise ValueError(
            f"sigreg: expected uniform knots 0, δ, 2δ, … in float32 or finer, got {shown}, … "
            f"({len(t)} in all, {knots.dtype}). Use torch.linspace(0, 3, 17), or "
            "lewm_kernels.sigreg.reference for other knots."
        )
    return delta


@library.custom_op(
    "lewm_kernels::sigreg",
    mutates_args=(),
    schema="(Tensor z, Tensor directions, Tensor knots, bool with_gradient) -> (Tensor, Tensor)",
)
def _sigreg(z: Tensor, directions: Tensor, knots: Tensor, with_gradient: bool) -> tuple[Tensor, Tensor]:
    return statistic_and_gradient(z, directions, len(knots), _knot_distance(knots), with_gradient)


@_sigreg.register_fake
def _(z: Tensor, directions: Tensor, knots: Tensor, with_gradient: bool) -> tuple[Tensor, Tensor]:
    dtype = promote_types(z.dtype, float32)
    gradient_shape = z.shape if with_gradient else (0,)
    return z.new_empty(z.shape[0], dtype=dtype), z.new_empty(gradient_shape, dtype=dtype)


def _setup_context(
    ctx: Any,  # noqa: ANN401 - PyTorch hands over whatever carries the attributes set here
    inputs: tuple[Tensor, Tensor, Tensor, bool],
    output: tuple[Tensor, Tensor],
) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(output[1])
    ctx.dtype = inputs[0].dtype


def _backward(
    ctx: Any,  # noqa: ANN401
    upstream: Tensor | None,
    _: Tensor | None,
) -> tuple[Tensor | None, None, None, None]:
    if is_grad_enabled():
        raise RuntimeError(
            "sigreg: only the first derivative exists. Call backward without create_graph=True, or use "
            "lewm_kernels.sigreg.reference, which PyTorch differentiates any number of times."
        )
    if upstream is None:
        return None, None, None, None
    (gradient,) = ctx.saved_tensors
    return (upstream[:, None, None] * gradient).to(ctx.dtype), None, None, None


_sigreg.register_autograd(_backward, setup_context=_setup_context)
