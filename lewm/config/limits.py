"""Upper limits, each ten times or more what this field uses, so that a slip of the keyboard or a hostile file is told
by its key. What is within them and still too large for the machine is told by the memory it needs: `lewm.memory`.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

MOST_WIDTH = 2**16  # of a layer; the largest language models have 20,000
MOST_LAYERS = 1024  # also of heads
MOST_HISTORY = 4096  # latents
MOST_PIXELS = 4096  # a side of a frame
MOST_HALVINGS = 12  # after which a side of 4096 is 1
MOST_FRAMESKIP = 1000  # environment steps: a second of the fastest robots
MOST_ACTIONS = 10_000  # numbers an environment step
MOST_DIRECTIONS = 2**20  # the paper has 1024
MOST_KNOTS = 10_000  # the paper has 17
MOST_STEPS = 10**9  # also of episodes' steps
MOST_CLIPS = 2**20  # a batch
MOST_CANDIDATES = 10**6  # the paper has 300
MOST_ITERATIONS = 10**5  # the paper has 30
MOST_BLOCKS = 1000  # of a plan; the paper has 5


def _no_truth(value: Any) -> Any:  # noqa: ANN401
    """Python counts True as 1; somebody who writes `steps = true` does not."""
    if isinstance(value, bool):
        raise ValueError(f"expected a number, got {value}")
    return value


Int = Annotated[int, BeforeValidator(_no_truth)]
Float = Annotated[float, BeforeValidator(_no_truth)]
Width = Annotated[Int, Field(gt=0, le=MOST_WIDTH)]
Layers = Annotated[Int, Field(gt=0, le=MOST_LAYERS)]
Pixels = Annotated[Int, Field(gt=0, le=MOST_PIXELS)]
Steps = Annotated[Int, Field(gt=0, le=MOST_STEPS)]
Fraction = Annotated[Float, Field(ge=0, lt=1)]
Directions = Annotated[Int, Field(gt=0, le=MOST_DIRECTIONS)]
Knots = Annotated[Int, Field(ge=2, le=MOST_KNOTS)]
Candidates = Annotated[Int, Field(ge=2, le=MOST_CANDIDATES)]
Iterations = Annotated[Int, Field(gt=0, le=MOST_ITERATIONS)]
Blocks = Annotated[Int, Field(gt=0, le=MOST_BLOCKS)]
