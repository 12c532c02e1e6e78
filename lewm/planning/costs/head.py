"""A learnt head on pairs of latents: its file, and the cost of plans by it.

B environments, S candidates, H horizon in blocks, A action-block width, D latent width.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lewm.checkpoints.sized import load_sized, save_sized
from lewm.config import HeadCost
from lewm.errors import LewmError
from lewm.model.rows import WIDTHS, at_least_min_rows
from lewm.planning.costs.distance import squared
from lewm.planning.dynamics import Dynamics
from lewm.planning.plan import Context, Cost

METADATA = "head"  # the key of the JSON text beside the tensors
REMEDY = 'Give the key cost.path a file that "lewm train-head" or lewm.planning.costs.head.save_head wrote.'

OVER: dict[str, Callable[[Float[Tensor, "B S H"]], Float[Tensor, "B S"]]] = {
    "last": lambda steps: steps[:, :, -1],
    "min": lambda steps: steps.amin(dim=-1),
    "mean": lambda steps: steps.mean(dim=-1),
}


class Head(nn.Module):
    """Tells from the latents of two moments of an episode how many steps lie between them: at least 0.

    Softplus(MLP[a, b, a - b, |a - b|]), where the layers of the MLP have SiLU between them.

    Args:
        latent: D.
        widths: Widths of the hidden layers, multiples of 8.

    Raises:
        LewmError: a width is no multiple of 8.

    Source: arXiv 2605.22164.
    """

    def __init__(self, latent: int, widths: tuple[int, ...] = (256, 256)) -> None:
        super().__init__()
        if any(width % WIDTHS for width in widths):
            raise LewmError(f"a head with layers of widths {widths}", f"Give widths that are multiples of {WIDTHS}.")
        self.latent, self.widths = latent, widths
        sizes = [4 * latent, *widths]
        self.hidden = nn.ModuleList(nn.Linear(size, out) for size, out in itertools.pairwise(sizes))
        self.out = nn.Linear(sizes[-1], 1)

    def forward(self, earlier: Float[Tensor, "*batch D"], later: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch"]:
        """Steps from the earlier to the later moment, for each pair by itself."""
        apart = earlier - later
        rows = torch.cat([earlier, later, apart, apart.abs()], dim=-1).flatten(0, -2)
        return at_least_min_rows(self._steps, rows).unflatten(0, apart.shape[:-1])

    def _steps(self, rows: Float[Tensor, "rows W"]) -> Float[Tensor, " rows"]:
        for layer in self.hidden:
            rows = _silu(layer(rows))
        # As a product with a single column, a row's rounding would depend on its place among the others.
        return _softplus((rows * self.out.weight).sum(dim=-1) + self.out.bias)


def _silu(x: Float[Tensor, "rows W"]) -> Float[Tensor, "rows W"]:
    """SiLU by tanh: PyTorch's SiLU rounds differently at the end of a tensor, and at the end of a thread's share."""
    return 0.5 * x * (1 + (0.5 * x).tanh())


def _softplus(x: Float[Tensor, " rows"]) -> Float[Tensor, " rows"]:
    """Softplus by exp and log1p, for the same reason as in `_silu`."""
    return x.clamp(min=0) + (-x.abs()).exp().log1p()


def save_head(path: Path, head: Head, checkpoint: str | None = None) -> None:
    """Write a head, with its sizes and a checksum.

    Args:
        path: The file.
        head: The head.
        checkpoint: Digest of the file of weights on whose latents it was trained; None where it is not known.

    Raises:
        OSError: there is no room, or the place cannot be written.
    """
    save_sized(path, head, METADATA, {"latent": head.latent, "widths": head.widths}, checkpoint)


def load_head(path: Path, device: torch.device) -> tuple[Head, str | None]:
    """A head that `save_head` wrote, in eval mode; its weights ask for no gradient. Beside it the checkpoint's digest.

    Raises:
        LewmError: the file is missing, damaged, or no head, or its weights are not finite.
    """
    return load_sized(path, METADATA, _made, device, "not a head, or of another version", REMEDY)


def _made(sizes: Any, tensors: int) -> Head:  # noqa: ANN401  # what JSON holds
    latent, widths = sizes["latent"], tuple(sizes["widths"])
    if len(widths) > tensors:
        raise ValueError(f"{len(widths)} hidden layers")
    return Head(latent, widths)


def head_of(settings: HeadCost, device: torch.device) -> Head:
    """The head that the settings name.

    Raises:
        LewmError: They name none, or its file cannot be used.
    """
    if settings.path is None:
        raise LewmError("the cost is a head, and the key cost.path names no file of one", REMEDY)
    return load_head(Path(settings.path), device)[0]


def learnt(head: Head, settings: HeadCost, dynamics: Dynamics, context: Context, goal: Float[Tensor, "B D"]) -> Cost:
    """The head's steps from predicted latents to the goal's, or the weighted sum of z-scores of steps and distance.

    Z-scores compare the candidates of one environment that are given together, so a candidate given alone costs 0.

    Raises:
        LewmError: the head is for latents of another width.
    """
    width = goal.shape[-1]
    if head.latent != width:
        raise LewmError(
            f"{settings.path}: a head for latents of {head.latent} numbers, the model's have {width}",
            "Give the key cost.path a head that was trained on the latents of this model.",
        )
    over = OVER[settings.over]

    def cost(candidates: Float[Tensor, "B S H A"]) -> Float[Tensor, "B S"]:
        predicted = dynamics(context.latents, candidates, context.actions)  # (B, S, H, D)
        if settings.over == "last":
            predicted = predicted[:, :, -1:]
        steps = over(head(predicted, goal[:, None, None].expand_as(predicted)))
        if settings.distance_weight == 0:
            return steps
        return _z_scores(steps) + settings.distance_weight * _z_scores(over(squared(predicted, goal)))

    return cost


def _z_scores(costs: Float[Tensor, "B S"]) -> Float[Tensor, "B S"]:
    """Z-scores of the candidates' costs; 0 where all candidates cost the same.

    No gradient flows through mean and standard deviation: otherwise the candidates' gradients would cancel.
    """
    std, mean = torch.std_mean(costs.detach(), dim=1, correction=0, keepdim=True)
    return (costs - mean) / std.masked_fill(std == 0, 1)
