"""SIGReg: the distance of embeddings from an isotropic normal distribution, along random directions.

Shapes: T leading indices (time steps), N embeddings of this process, D latent width, M directions, K knots.
"""

from __future__ import annotations

# No `import torch` here: importing the submodule of that name rebinds it in this namespace.
from importlib import import_module
from typing import Any

from jaxtyping import Float
from torch import Tensor, bfloat16, cat, distributed, float16, float32, is_grad_enabled, library, promote_types

from lewm_kernels._ranks import name_of, sum_over_ranks
from lewm_kernels.dispatch import choose
from lewm_kernels.philox import RandomDirections, check_directions, step_on
from lewm_kernels.philox import directions as draw

# The largest error of a knot, relative to the last knot: eight float32 roundings.
_KNOT_TOLERANCE = 1e-6

# Limits of the Triton kernels.
_TRITON_DTYPES = (float32, bfloat16, float16)
_TRITON_WIDTH = 1024
_TRITON_KNOTS = 64


def sigreg(
    z: Float[Tensor, "*T N D"],
    directions: Float[Tensor, "D M"] | RandomDirections,
    knots: Float[Tensor, " K"],
    *,
    group: distributed.ProcessGroup | None = None,
    backend: str = "auto",
) -> Float[Tensor, "*T"]:
    """The statistic of every leading index, averaged over directions: 0 for a perfect standard normal.

    It is differentiable once, and with respect to `z` alone. The embeddings of one leading index are one sample;
    the training loss is the mean of the result.

    With a process group, the sample is the embeddings of all its processes together, and every process gets
    the same result. Backward adds up the processes' upstream gradients: where each process has this result in
    its loss, the gradient is too large by the number of processes, by which DistributedDataParallel divides.
    Forward and backward are one all-reduce each, so all processes have to run both.

    Args:
        z: Embeddings of any floating dtype and layout. 16-bit ones are computed in float32, and autocast is
            ignored.
        directions: Unit columns; or `RandomDirections`, in place of the matrix that `lewm_kernels.directions` draws:
            the Triton kernels draw it tile by tile, so that it never is in memory; the other backends draw it at once.
        knots: 0, δ, 2δ, … up to the end of the integral; the paper has 17 up to 3. The host reads them: keep
            them on the CPU even when `z` is on an accelerator.
        group: The processes that share a sample. N may differ between them; everything else, directions
            and knots included, has to be the same.
        backend: "auto", "torch", "compiled" (PyTorch under torch.compile, which takes seconds for each new
            shape) or "triton". auto takes the one that the environment variable LEWM_KERNELS names, else Triton where
            it runs and torch elsewhere; `lewm doctor` shows which and why.

    Returns:
        The statistic in the dtype of `z`, at least float32.

    Raises:
        ValueError: If shapes or devices disagree, a dimension is empty, the knots are not uniform from 0,
            `directions` or `knots` require a gradient, their seed, step or count is out of range, this process
            is not in the group, or the backend is unknown or cannot run here.
        RuntimeError: If a second derivative is asked for (`create_graph=True`).

    Source: LeWorldModel, the SIGReg loss; `lewm_kernels.sigreg.reference` has it in the paper's order.
    """
    _check_shapes(z, directions, knots)
    flat = z.reshape(-1, *z.shape[-2:])  # (T, N, D)
    wants_gradient = is_grad_enabled() and z.requires_grad
    name = name_of(group, "sigreg")
    statistic: Tensor = _sigreg(flat, *_operands(z, directions), knots, wants_gradient, backend, name)[0]
    return statistic.view(z.shape[:-2])


def _operands(z: Tensor, directions: Tensor | RandomDirections) -> tuple[Tensor | None, Tensor | None, int, int]:
    """The matrix of directions, or step, seed and count."""
    if isinstance(directions, Tensor):
        return directions, None, 0, 0
    signed = directions.seed - (directions.seed >> 63 << 64)  # an operator's integers have 64 bits with a sign
    return None, step_on(directions.step, z.device), signed, directions.count


def _check_shapes(z: Tensor, directions: Tensor | RandomDirections, knots: Tensor) -> None:
    if isinstance(directions, Tensor):
        _check_matrix(z, directions)
    else:
        _check_random(z, directions)
    if knots.ndim != 1 or len(knots) < 2:
        raise ValueError(
            f"sigreg: expected at least 2 knots of shape (K,), got {tuple(knots.shape)}. Use torch.linspace(0, 3, 17)."
        )
    if knots.requires_grad:
        raise ValueError("sigreg: knots require a gradient, which is not defined here. Pass knots.detach().")


def _check_matrix(z: Tensor, directions: Tensor) -> None:
    if z.ndim < 2 or directions.ndim != 2 or z.shape[-1] != directions.shape[0]:
        raise ValueError(
            f"sigreg: expected z (..., N, D) and directions (D, M) of one D, got {tuple(z.shape)} and "
            f"{tuple(directions.shape)}. Directions are columns: transpose them if they are rows."
        )
    if z.device != directions.device:
        raise ValueError(
            f"sigreg: expected embeddings and directions on one device, got {z.device} and {directions.device}. "
            "Draw the directions with device=z.device."
        )
    if 0 in z.shape or 0 in directions.shape:
        raise ValueError(
            f"sigreg: expected at least one embedding and one direction, got z {tuple(z.shape)} and "
            f"directions {tuple(directions.shape)}. Drop empty batches before the loss."
        )
    if directions.requires_grad:
        raise ValueError("sigreg: directions require a gradient, which is not defined here. Pass directions.detach().")


def _check_random(z: Tensor, directions: RandomDirections) -> None:
    if z.ndim < 2 or 0 in z.shape:
        raise ValueError(f"sigreg: expected z (..., N, D) of at least one embedding, got {tuple(z.shape)}.")
    check_directions(directions.seed, directions.step, z.shape[-1], directions.count)
    if isinstance(directions.step, Tensor) and directions.step.device != z.device:
        raise ValueError(
            f"sigreg: expected embeddings and step on one device, got {z.device} and {directions.step.device}. "
            "Keep the step on z.device, or give it as a number."
        )


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
    schema="(Tensor z, Tensor? directions, Tensor? step, int seed, int count, Tensor knots, bool with_gradient,"
    " str backend, str? group) -> (Tensor, Tensor)",
)
def _sigreg(
    z: Tensor,
    directions: Tensor | None,
    step: Tensor | None,
    seed: int,
    count: int,
    knots: Tensor,
    with_gradient: bool,
    backend: str,
    group: str | None,
) -> tuple[Tensor, Tensor]:
    K, delta = len(knots), _knot_distance(knots)
    backend = choose("sigreg", z.device, backend, _unsupported(z, K)).backend
    path: Any = import_module(f"{__name__}.{backend}")  # named as the backend; imported when it is needed
    source = _source(backend, z.shape[-1], directions, step, seed, count)
    if group is None:
        result: tuple[Tensor, Tensor] = path.statistic_and_gradient(z, source, K, delta, with_gradient)
        return result
    sums = path.power_sums(z, source, K, delta)  # axes T, M, K - 1 and 2, in an order that each path chooses
    packed = sum_over_ranks(cat([sums.flatten(), sums.new_full((1,), z.shape[1])]), group)
    statistic, coefficients = path.finish(packed[:-1].view_as(sums), packed[-1], delta)
    gradient = path.gradient(z, source, coefficients, delta) if with_gradient else sums.new_empty(0)
    return statistic, gradient


def _source(
    backend: str, D: int, directions: Tensor | None, step: Tensor | None, seed: int, count: int
) -> Tensor | RandomDirections:
    """Directions in the form that the backend takes: for Triton in float32, or still to be drawn."""
    if directions is not None:
        return directions.to(float32) if backend == "triton" else directions
    assert step is not None
    random = RandomDirections(seed % (1 << 64), step, count)
    return random if backend == "triton" else draw(random.seed, step, D, count)


def _unsupported(z: Tensor, K: int) -> str | None:
    """The property that the Triton kernels do not support, or None."""
    if z.dtype not in _TRITON_DTYPES:
        return f"the embeddings are {z.dtype}, not one of {', '.join(map(str, _TRITON_DTYPES))}"
    if z.shape[-1] > _TRITON_WIDTH:
        return f"embeddings of width {z.shape[-1]} are wider than {_TRITON_WIDTH}"
    if K > _TRITON_KNOTS:
        return f"{K} knots are more than {_TRITON_KNOTS}"
    return None


@_sigreg.register_fake
def _(
    z: Tensor,
    directions: Tensor | None,
    step: Tensor | None,
    seed: int,
    count: int,
    knots: Tensor,
    with_gradient: bool,
    backend: str,
    group: str | None,
) -> tuple[Tensor, Tensor]:
    dtype = promote_types(z.dtype, float32)
    gradient_shape = z.shape if with_gradient else (0,)
    return z.new_empty(z.shape[0], dtype=dtype), z.new_empty(gradient_shape, dtype=dtype)


def _setup_context(
    ctx: Any,  # noqa: ANN401 - PyTorch hands over whatever carries the attributes set here
    inputs: tuple[Tensor, Tensor | None, Tensor | None, int, int, Tensor, bool, str, str | None],
    output: tuple[Tensor, Tensor],
) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(output[1])
    ctx.dtype, ctx.group = inputs[0].dtype, inputs[-1]


def _backward(
    ctx: Any,  # noqa: ANN401
    upstream: Tensor | None,
    _: Tensor | None,
) -> tuple[Tensor | None, ...]:
    if is_grad_enabled():
        raise RuntimeError(
            "sigreg: only the first derivative exists. Call backward without create_graph=True, or use "
            "lewm_kernels.sigreg.reference, which PyTorch differentiates any number of times."
        )
    others = (None,) * 8  # z alone has a gradient
    if upstream is None:
        return None, *others
    if ctx.group is not None:
        upstream = sum_over_ranks(upstream, ctx.group)
    (gradient,) = ctx.saved_tensors
    return (upstream[:, None, None] * gradient).to(ctx.dtype), *others


_sigreg.register_autograd(_backward, setup_context=_setup_context)
