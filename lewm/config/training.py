"""How a model is trained, and how its success is measured."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lewm.config.limits import MOST_CLIPS, Float, Fraction, Int, Steps
from lewm.config.section import Section


class Training(Section):
    """Optimisation. Exactly one of `steps` and `epochs` is set."""

    steps: Steps | None = None
    epochs: Steps | None = None
    batch_size: Annotated[Int, Field(ge=2, le=MOST_CLIPS)]  # BatchNorm and SIGReg need two
    learning_rate: Annotated[Float, Field(gt=0)]
    weight_decay: Annotated[Float, Field(ge=0)]
    gradient_clip: Annotated[Float, Field(gt=0)]
    warmup: Fraction  # share of the steps
    held_out: Annotated[Float, Field(gt=0, lt=1)]  # share of the episodes
    # How many of the others training sees, the first of an order that the seed decides; all when None. What is held out
    # stays the same for every number, and so do the tasks.
    episodes: Steps | None = None
    precision: Literal["fp32", "bf16"]
    # Encoder and predictor. auto: on CUDA devices that have a compiler, see `lewm.training.compilation`.
    compile: Literal["auto", "off"] = "auto"
    seed: Annotated[Int, Field(ge=0, lt=2**64)]
    log_every: Steps
    evaluate_every: Steps
    checkpoint_every: Steps

    @model_validator(mode="after")
    def _one_length(self) -> Training:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("set exactly one of steps and epochs")
        return self


class Evaluation(Section):
    """How success is measured."""

    goal_offset: Steps  # environment steps between start and goal in the dataset episode
    budget: Steps  # environment steps allowed
