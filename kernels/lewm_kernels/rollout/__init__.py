"""The batched rollout: the latents that a world model predicts after each block of many candidate plans.

Shapes: B environments, S candidates, L context length, H horizon in blocks, D latent width, A action-block width,
P = L - 1 past blocks.
"""

from __future__ import annotations

# No `import torch` here: importing the submodule of that name rebinds it in this namespace.
from importlib import import_module
from typing import Any

from jaxtyping import Float, Float32
from torch import Tensor, autocast, float32, is_grad_enabled, no_grad

from lewm_kernels.dispatch import choose
from lewm_kernels.rollout import reference
from lewm_kernels.rollout.pack import Packed, pack
from lewm_kernels.rollout.tiles import DESIGNS, unsupported, unsupported_whole

__all__ = ["Packed", "check_context", "pack", "reference", "rollout"]


def rollout(
    packed: Packed,
    latents: Float[Tensor, "B L D"],
    candidates: Float[Tensor, "B S H A"],
    history: Float[Tensor, "B P A"] | None = None,
    *,
    backend: str = "auto",
    design: str | None = None,
) -> Float32[Tensor, "B S H D"]:
    """Predicts the latents to which each candidate's H action blocks lead, one after the other.

    The predictor sees the last `packed.history` latents; when that window slides, positions start again from 0. On x86
    CPUs a candidate's result is the same, bit for bit, alone and among any others. There is no gradient, and autocast
    is ignored.

    Args:
        packed: The weights, from `pack`.
        latents: The latents of the context, oldest first.
        candidates: Normalised action blocks; the first one starts at the last latent of the context.
        history: The L - 1 blocks executed between the context's latents; needed when L > 1.
        backend: "auto", "torch" or "triton". auto takes the one that the environment variable LEWM_KERNELS names, else
            Triton where it runs and torch elsewhere; `lewm doctor` shows which and why.
        design: The way in which the Triton kernels compute a layer, "split", "whole" or "layerwise"; None takes the
            fastest for this number of candidates. Results differ by rounding alone.

        Raises:
            ValueError: If shapes or devices disagree, a dimension is empty, an input requires a gradient, the backend
                is unknown or cannot run here, or the design is unknown or the backend does not have it.

    Source: LeWorldModel, sections 3 and 4; `lewm_kernels.rollout.reference` has it in the paper's order.
    """
    _check_shapes(packed, latents, candidates, history)
    inputs = {"latents": latents, "candidates": candidates} | ({} if history is None else {"history": history})
    for name, tensor in inputs.items():
        if tensor.device != packed.device:
            raise ValueError(
                f"rollout: expected {name} where the weights are, got {tensor.device} and {packed.device}. "
                "Move them, or pack a model that is on their device."
            )
        if is_grad_enabled() and tensor.requires_grad:
            raise ValueError(
                f"rollout: {name} require a gradient, which only lewm_kernels.rollout.reference has. "
                f"Call that, or pass {name}.detach()."
            )
    chosen = choose("rollout", packed.device, backend, unsupported(packed)).backend
    _check_design(packed, chosen, design)
    path: Any = import_module(f"{__name__}.{chosen}")  # named as the backend; imported when it is needed
    with no_grad(), autocast(packed.device.type, enabled=False):
        options = {} if design is None else {"design": design}
        result: Tensor = path.rollout(packed, *(tensor.to(float32) for tensor in inputs.values()), **options)
    return result


def _check_design(packed: Packed, backend: str, design: str | None) -> None:
    if design is None:
        return
    if design not in DESIGNS:
        raise ValueError(f"rollout: expected one of the designs {', '.join(DESIGNS)}, got {design!r}.")
    obstacle = unsupported_whole(packed) if design == "whole" else None
    if backend != "triton":
        obstacle = f"it is one of the Triton kernels, and the backend is {backend}"
    if obstacle:
        raise ValueError(
            f"rollout: the design {design} cannot run here: {obstacle}. Leave it out, and one is taken that can."
        )


def check_context(latents: Float[Tensor, "B L D"], history: Float[Tensor, "B P A"] | None) -> None:
    """Raises unless there is an executed block between every two latents of the context.

    Raises:
        ValueError: If a block is missing or left over.
    """
    L, got = latents.shape[1], 0 if history is None else history.shape[1]
    if got != L - 1:
        raise ValueError(f"rollout: a context of {L} latents needs {L - 1} executed blocks, got {got or 'none'}.")


def _check_shapes(packed: Packed, latents: Tensor, candidates: Tensor, history: Tensor | None) -> None:
    D, A = packed.latent, packed.action_block
    if latents.ndim != 3 or candidates.ndim != 4 or len(latents) != len(candidates):
        raise ValueError(
            f"rollout: expected latents (B, L, {D}) and candidates (B, S, H, {A}) of one B, got "
            f"{tuple(latents.shape)} and {tuple(candidates.shape)}."
        )
    if latents.shape[2] != D or candidates.shape[3] != A:
        raise ValueError(
            f"rollout: expected latents of width {D} and action blocks of width {A}, got {latents.shape[2]} and "
            f"{candidates.shape[3]}. Pack the model that they belong to."
        )
    if 0 in latents.shape or 0 in candidates.shape:
        raise ValueError(
            "rollout: expected at least one environment, context latent, candidate and block, got latents "
            f"{tuple(latents.shape)} and candidates {tuple(candidates.shape)}."
        )
    if history is not None and (history.ndim != 3 or history.shape[::2] != (len(latents), A)):
        past = (len(latents), latents.shape[1] - 1, A)
        raise ValueError(f"rollout: expected executed blocks of shape {past}, got {tuple(history.shape)}.")
    check_context(latents, history)
