"""Costs of candidate plans."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lewm.planning.costs.distance import last, mean, nearest
from lewm.planning.costs.head import head_of, learnt
from lewm.planning.dynamics import Dynamics
from lewm.planning.plan import Context, Cost

MakeCost = Callable[[Dynamics, Context, Float[Tensor, "B D"]], Cost]  # the last argument is the goal's latent

# By the kind of their settings. Each is called with settings of its kind and the device to compute on.
COSTS: dict[str, Callable[[Any, torch.device], MakeCost]] = {
    "last": lambda settings, device: last,
    "min": lambda settings, device: nearest,
    "mean": lambda settings, device: mean,
    "head": lambda settings, device: partial(learnt, head_of(settings, device), settings),
}
