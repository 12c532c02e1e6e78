"""SIGReg in Triton: one launch forward, one for statistic and coefficients, one backward.

Shapes: T time steps, N embeddings, D latent width, M directions, K knots, P = K - 1 powers, S splits.

The sums and coefficients that go from one function to the next have directions innermost: this is the kernels' own
order, which differs from the PyTorch path. Nothing waits for the device, so a CUDA graph can record the launches.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from lewm_kernels.philox import RandomDirections
from lewm_kernels.sigreg import kernels
from lewm_kernels.sigreg.tiles import CHAIN, backward_tile, finish_tile, forward_tile, power_of_two, row_blocks, split


def statistic_and_gradient(
    z: Float[Tensor, "T N D"],
    directions: Float[Tensor, "D M"] | RandomDirections,
    K: int,
    delta: float,
    with_gradient: bool,
) -> tuple[Float32[Tensor, " T"], Tensor]:
    """Computes `torch.statistic_and_gradient`."""
    statistic, coefficients = finish(_partial_sums(z, directions, K, delta), z.shape[1], delta)
    return statistic, gradient(z, directions, coefficients, delta) if with_gradient else statistic.new_empty(0)


def power_sums(
    z: Float[Tensor, "T N D"], directions: Float[Tensor, "D M"] | RandomDirections, K: int, delta: float
) -> Float32[Tensor, "T {K-1} 2 M"]:
    """Cosine and sine of kδh, summed over the embeddings, for k = 1 … K-1.

    Args:
        z: Embeddings of at most 32 bits, of any layout; all arithmetic is in float32.
        directions: Unit columns, of any layout; or `RandomDirections` with a step on z's device.
        K: Number of knots, 0 among them.
        delta: Distance of two knots; a kernel is compiled for each value.
    """
    sums = _partial_sums(z, directions, K, delta)
    return sums[0] if len(sums) == 1 else sums.sum(dim=0)


def _partial_sums(
    z: Float[Tensor, "T N D"], directions: Float[Tensor, "D M"] | RandomDirections, K: int, delta: float
) -> Float32[Tensor, "S T {K-1} 2 M"]:
    """The `power_sums` of each share of the embeddings."""
    T, N, D = z.shape
    M = directions.count if isinstance(directions, RandomDirections) else directions.shape[1]
    tile = forward_tile()
    blocks_m = -(-M // tile.BLOCK_M)
    S, rows = split(N, tile.BLOCK_N, T * blocks_m)
    sums = torch.empty(S, T, K - 1, 2, M, dtype=torch.float32, device=z.device)
    with torch.cuda.device_of(z):  # Triton launches on the current device
        kernels.sigreg_forward_kernel[(S * T * blocks_m,)](
            z_ptr=z,
            sums_ptr=sums,
            T=T,
            N=N,
            D=D,
            M=M,
            rows_of_split=rows,
            stride_z_t=z.stride(0),
            stride_z_n=z.stride(1),
            stride_z_d=z.stride(2),
            **_source(directions),
            K=K,
            DELTA=delta,
            BLOCK_K=power_of_two(K - 1),
            **vars(tile),
            enable_fp_fusion=True,
        )
    return sums


def finish(
    sums: Float32[Tensor, "*S T P 2 M"], count: int | Float32[Tensor, ""], delta: float
) -> tuple[Float32[Tensor, " T"], Float32[Tensor, "T P 2 M"]]:
    """Computes the mean statistic and the coefficients of its gradient from the sums: see `torch.finish`.

    Args:
            sums: The `power_sums` of all processes, added up or in shares that `finish` adds up; contiguous.
        count: The number of embeddings; a tensor is read on its device only.
        delta: Distance of two knots; a kernel is compiled for each value.
    """
    assert sums.is_contiguous(), "the kernel reads sums by position"
    T, P, _, M = sums.shape[-4:]
    statistic = torch.empty(T, dtype=torch.float32, device=sums.device)
    coefficients = torch.empty(T, P, 2, M, dtype=torch.float32, device=sums.device)
    on_device = isinstance(count, Tensor)
    with torch.cuda.device_of(sums):  # Triton launches on the current device
        kernels.sigreg_finish_kernel[(T,)](
            sums_ptr=sums,
            count_ptr=count if on_device else None,
            statistic_ptr=statistic,
            coefficients_ptr=coefficients,
            count=0 if on_device else count,
            S=sums.numel() // coefficients.numel(),
            T=T,
            M=M,
            K=P + 1,
            DELTA=delta,
            **finish_tile(P + 1),
            enable_fp_fusion=True,
        )
    return statistic, coefficients


def gradient(
    z: Float[Tensor, "T N D"],
    directions: Float[Tensor, "D M"] | RandomDirections,
    coefficients: Float32[Tensor, "T P 2 M"],
    delta: float,
) -> Float32[Tensor, "T N D"]:
    """Σ_m u_m Im Σ_k c_k exp(i kδ u_m·z) for every embedding.

    Args:
        z: Embeddings; see `power_sums`.
        directions: Unit columns, of any layout; or `RandomDirections` with a step on z's device.
        coefficients: Real and imaginary parts of c_k for k = 1 … P, contiguous.
        delta: Distance of two knots.
    """
    assert coefficients.is_contiguous(), "the kernel reads coefficients by position"
    T, N, D = z.shape
    M = directions.count if isinstance(directions, RandomDirections) else directions.shape[1]
    tile = backward_tile(D, random=isinstance(directions, RandomDirections))
    head, tail = row_blocks(D)
    blocks_n = -(-N // tile.BLOCK_N)
    S, columns = split(M, tile.BLOCK_M, T * blocks_n)
    parts = torch.empty(S, T, N, D, dtype=torch.float32, device=z.device)
    with torch.cuda.device_of(z):  # Triton launches on the current device
        kernels.sigreg_backward_kernel[(S * T * blocks_n,)](
            z_ptr=z,
            coefficients_ptr=coefficients,
            gradient_ptr=parts,
            T=T,
            N=N,
            D=D,
            M=M,
            columns_of_split=columns,
            stride_z_t=z.stride(0),
            stride_z_n=z.stride(1),
            stride_z_d=z.stride(2),
            **_source(directions),
            K=coefficients.shape[1] + 1,
            DELTA=delta,
            BLOCK_HEAD=head,
            BLOCK_TAIL=tail,
            CHAIN=CHAIN,
            **vars(tile),
            enable_fp_fusion=True,
        )
    return parts[0] if S == 1 else parts.sum(dim=0)


def _source(directions: Tensor | RandomDirections) -> dict[str, Tensor | int | None]:
    """The kernels' arguments for the directions."""
    names = ("directions_ptr", "stride_directions_d", "stride_directions_m", "step_ptr", "seed")
    if isinstance(directions, RandomDirections):
        return dict(zip(names, (None, 0, 0, directions.step, directions.seed), strict=True))
    return dict(zip(names, (directions, *directions.stride(), None, 0), strict=True))
