"""The rollout of the released code: each window is computed from its beginning, all tokens through all layers.

It is the oracle of the tests and the baseline of the benchmark. It reuses nothing, and autograd differentiates it.

Shapes: B environments, S candidates, N = B S, L context length, H horizon in blocks, T tokens of a window, D latent
width, W predictor width, A action-block width, P = L - 1 past blocks.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lewm_kernels.rollout.pack import MODULATION_EPS, NORM_EPS

_BATCH_NORM = ("running_mean", "running_var", "weight", "bias")


def rollout(
    parameters: Mapping[str, Tensor],
    latents: Float[Tensor, "B L D"],
    candidates: Float[Tensor, "B S H A"],
    history: Float[Tensor, "B P A"] | None = None,
    *,
    heads: int,
    residual: bool = False,
) -> Float[Tensor, "B S H D"]:
    """Computes `lewm_kernels.rollout` for a model in eval mode, in the dtype of its parameters.

    Args:
        parameters: Tensors of lewm's `WorldModel.state_dict()`, which `pack` takes too.
        latents: The latents of the context, oldest first.
        candidates: Normalised action blocks; the first one starts at the last latent of the context.
        history: The L - 1 blocks executed between the context's latents.
        heads: Number of heads in every layer's attention.
        residual: Whether what the projector gives is added to the last latent.

    Source: LeWorldModel, section 3, and the released code.
    Differs: `residual`, which neither has.
    """
    longest = parameters["predictor.positions"].shape[1]
    step = functools.partial(predict, parameters, heads=heads, residual=residual)
    return step_by_step(step, latents, candidates, history, longest=longest)


def step_by_step(
    predict: Callable[[Tensor, Tensor], Tensor],
    latents: Float[Tensor, "B L D"],
    candidates: Float[Tensor, "B S H A"],
    history: Float[Tensor, "B P A"] | None = None,
    *,
    longest: int,
) -> Float[Tensor, "B S H D"]:
    """The rollout of any predictor.

    Args:
        predict: Maps latents (N, T, D) and blocks (N, T, A) to the latents after each of T <= `longest` steps, (N, T,
            D).
        latents: The latents of the context, oldest first.
        candidates: Normalised action blocks; the first one starts at the last latent of the context.
        history: The L - 1 blocks executed between the context's latents.
        longest: The most latents that `predict` sees: the last ones.
    """
    B, S, H, _ = candidates.shape
    L = latents.shape[1]
    blocks = candidates.flatten(0, 1)  # (N, H, A)
    if history is not None:
        blocks = torch.cat([history.repeat_interleave(S, dim=0), blocks], dim=1)  # (N, L-1+H, A)
    trajectory = latents.repeat_interleave(S, dim=0)  # (N, L, D), grows by one latent a step
    for end in range(L, L + H):
        window = slice(max(0, end - longest), end)
        predicted = predict(trajectory[:, window], blocks[:, window])
        trajectory = torch.cat([trajectory, predicted[:, -1:]], dim=1)
    return trajectory[:, L:].unflatten(0, (B, S))


def predict(
    parameters: Mapping[str, Tensor],
    latents: Float[Tensor, "N T D"],
    blocks: Float[Tensor, "N T A"],
    *,
    heads: int,
    residual: bool = False,
) -> Float[Tensor, "N T D"]:
    """The latent after each of T <= `history` steps, teacher forced; each step sees the steps up to it."""
    p = parameters
    actions = _linear(p, "action_embedder.hidden", _linear(p, "action_embedder.bottleneck", blocks))
    actions = _linear(p, "action_embedder.out", F.silu(actions))  # (N, T, D)
    x = latents + p["predictor.positions"][:, : latents.shape[1]]
    own_width = "predictor.input.weight" in p
    if own_width:
        x, actions = _linear(p, "predictor.input", x), _linear(p, "predictor.condition", actions)
    i = 0
    while f"predictor.blocks.{i}.qkv.weight" in p:
        x = _layer(p, f"predictor.blocks.{i}", x, actions, heads)
        i += 1
    x = _norm(p, "predictor.norm", x)
    made = _project(p, _linear(p, "predictor.output", x) if own_width else x)
    return latents + made if residual else made


def _layer(
    p: Mapping[str, Tensor], name: str, x: Float[Tensor, "N T W"], actions: Float[Tensor, "N T W"], heads: int
) -> Float[Tensor, "N T W"]:
    """x += gate · attention(modulate(LN(x))), then the same with an MLP; the action gives six modulation values."""
    shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = _linear(p, f"{name}.modulation", F.silu(actions)).chunk(6, -1)
    x = x + gate * _attention(p, name, _modulate(x, shift, scale), heads)
    hidden = _norm(p, f"{name}.mlp_norm", _modulate(x, mlp_shift, mlp_scale))
    return x + mlp_gate * _linear(p, f"{name}.fc2", F.gelu(_linear(p, f"{name}.fc1", hidden)))


def _attention(p: Mapping[str, Tensor], name: str, x: Float[Tensor, "N T W"], heads: int) -> Float[Tensor, "N T W"]:
    qkv = _linear(p, f"{name}.qkv", _norm(p, f"{name}.attention_norm", x))
    query, key, value = qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)  # 3 x (N, heads, T, head_dim)
    attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
    return _linear(p, f"{name}.out", attended.transpose(1, 2).flatten(2))


def _modulate(
    x: Float[Tensor, "N T W"], shift: Float[Tensor, "N T W"], scale: Float[Tensor, "N T W"]
) -> Float[Tensor, "N T W"]:
    return F.layer_norm(x, x.shape[-1:], eps=MODULATION_EPS) * (1 + scale) + shift


def _project(p: Mapping[str, Tensor], x: Float[Tensor, "N T D"]) -> Float[Tensor, "N T D"]:
    hidden = _linear(p, "prediction_projector.0", x).flatten(0, 1)
    if "prediction_projector.1.weight" in p:  # BatchNorm, which a projector may do without
        mean, var, weight, bias = (p[f"prediction_projector.1.{name}"] for name in _BATCH_NORM)
        hidden = F.batch_norm(hidden, mean, var, weight, bias, eps=NORM_EPS)
    return _linear(p, "prediction_projector.3", F.gelu(hidden)).unflatten(0, x.shape[:2])


def _norm(p: Mapping[str, Tensor], name: str, x: Float[Tensor, "*N W"]) -> Float[Tensor, "*N W"]:
    return F.layer_norm(x, x.shape[-1:], p[f"{name}.weight"], p[f"{name}.bias"], NORM_EPS)


def _linear(p: Mapping[str, Tensor], name: str, x: Float[Tensor, "*N width"]) -> Float[Tensor, "*N out"]:
    return F.linear(x, p[f"{name}.weight"], p.get(f"{name}.bias"))
