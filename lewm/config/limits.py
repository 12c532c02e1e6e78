"""Upper limits, each at least ten times what this field uses: a slip of the keyboard or a hostile file then meets an
error that names its key. Sizes within the limits may still be too large for the machine: see `lewm.memory`.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

MOST_WIDTH = 2**16  # the width of a layer; the largest language models have 20,000
MOST_LATENT = 2**20  # the map of 256 patches of DINOv2's ViT-S has 98,304 numbers
MOST_LAYERS = 1024  # the number of heads has the same limit
MOST_HISTORY = 4096  # latents
MOST_PIXELS = 4096  # a side of a frame
MOST_HALVINGS = 12  # after so many, a side of 4096 pixels has become 1
MOST_FRAMESKIP = 1000  # environment steps: a second of the fastest robots
MOST_ACTIONS = 10_000  # numbers an environment step
MOST_DIRECTIONS = 2**20  # the paper has 1024
MOST_KNOTS = 10_000  # the paper has 17
MOST_STEPS = 10**9  # steps of training, and environment steps
MOST_CLIPS = 2**20  # a batch
MOST_CANDIDATES = 10**6  # the paper has 300
MOST_ITERATIONS = 10**5  # the paper has 30
MOST_BLOCKS = 1000  # the blocks of a plan; the paper has 5


def _no_truth(value: Any) -> Any:  # noqa: ANN401
    """Refuses True and False: Python counts True as 1, but somebody who writes `steps = true` does not mean 1."""
    if isinstance(value, bool):
        raise ValueError(f"expected a number, got {value}")
    return value


Int = Annotated[int, BeforeValidator(_no_truth)]
Float = Annotated[float, BeforeValidator(_no_truth)]
Width = Annotated[Int, Field(gt=0, le=MOST_WIDTH)]
Latent = Annotated[Int, Field(gt=0, le=MOST_LATENT)]
Layers = Annotated[Int, Field(gt=0, le=MOST_LAYERS)]
Pixels = Annotated[Int, Field(gt=0, le=MOST_PIXELS)]
Steps = Annotated[Int, Field(gt=0, le=MOST_STEPS)]
Fraction = Annotated[Float, Field(ge=0, lt=1)]
Directions = Annotated[Int, Field(gt=0, le=MOST_DIRECTIONS)]
Knots = Annotated[Int, Field(ge=2, le=MOST_KNOTS)]
Candidates = Annotated[Int, Field(ge=2, le=MOST_CANDIDATES)]
Iterations = Annotated[Int, Field(gt=0, le=MOST_ITERATIONS)]
Blocks = Annotated[Int, Field(gt=0, le=MOST_BLOCKS)]
