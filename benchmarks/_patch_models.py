"""Two forms of DINO-WM with random weights: the plain loop, and the recipe's predictor that users run.

B environments, S candidates, H horizon in blocks, A action-block width.
"""

import functools
from collections.abc import Callable

import torch
from dino_wm_sized import PATCH, WIDTH, DinoWmSized
from torch import Tensor

import lewm.model
from lewm import recipes
from lewm.model.world_model import WorldModel
from lewm.planning.dynamics import DifferentiableDynamics

LARGE, RECIPE = "dino-wm-sized", "dino-wm"

Encode = Callable[[], Tensor]
Far = Callable[[Tensor, Tensor, Tensor], Tensor]  # start, goal, candidates (B, S, H, A) -> costs (B, S)


def large_models(
    action_block: int, device: torch.device, dtype: torch.dtype, side: int
) -> dict[str, tuple[Encode, Far]]:
    """What encodes a frame and computes costs, of both forms of the large model."""
    sized = DinoWmSized(side * PATCH, action_block).eval().to(device, dtype)
    recipe = recipe_model(side).to(device, dtype)
    dynamics = DifferentiableDynamics(recipe)
    frame = torch.randint(256, (1, side * PATCH, side * PATCH, 3), dtype=torch.uint8)
    pixels = (frame.permute(0, 3, 1, 2) / 255).to(device, dtype)

    def sized_far(start: Tensor, goal: Tensor, candidates: Tensor) -> Tensor:
        return sized.cost(start, candidates.to(dtype), goal).float()

    def recipe_far(start: Tensor, goal: Tensor, candidates: Tensor) -> Tensor:
        reached = dynamics(start[:, None], candidates.to(dtype))[:, :, -1]
        return (reached - goal[:, None]).square().mean(dim=-1).float()

    return {
        LARGE: (functools.partial(sized.encode, pixels), sized_far),
        RECIPE: (functools.partial(recipe.embed, frame), recipe_far),
    }


def recipe_model(side: int) -> WorldModel:
    """The model of the recipe dino-wm with random weights, for frames with so many patches a side."""
    model = recipes.recipe("dino-wm", "two-room", 2).model
    patches = side**2
    sizes = {
        "frame_size": side * PATCH,
        "latent": patches * WIDTH,
        "predictor": model.predictor.model_copy(update={"patches": patches}),
    }
    return lewm.model.build(model.model_copy(update=sizes)).eval().requires_grad_(False)
