"""How plans are searched for, and how much of one is executed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lewm.config.limits import MOST_HISTORY, Blocks, Candidates, Float, Int, Iterations
from lewm.config.section import Kind, Section


class Planner(Kind):
    """A search for the plan of least cost."""

    samples: Candidates  # S, plans whose costs are computed together
    iterations: Iterations


class Cem(Planner):
    """The cross-entropy method. 300 samples, 30 elites, 30 iterations are the released code's.

    The paper says 10 iterations outside Push-T.
    """

    kind: Literal["cem"] = "cem"
    samples: Candidates = 300
    iterations: Iterations = 30
    elites: Annotated[Int, Field(ge=2)] = 30  # E

    @model_validator(mode="after")
    def _elites_are_samples(self) -> Cem:
        if self.elites > self.samples:
            raise ValueError(f"elites {self.elites} exceeds samples {self.samples}")
        return self


class Cost(Kind):
    """What a plan costs, from the latents that it is imagined to lead to and that of the goal."""


class LastCost(Cost):
    """Squared distance of the last latent to the goal's."""

    kind: Literal["last"] = "last"


class MinCost(Cost):
    """Squared distance to the goal's of that latent which is nearest to it."""

    kind: Literal["min"] = "min"


class MeanCost(Cost):
    """Squared distance to the goal's, the mean over all latents."""

    kind: Literal["mean"] = "mean"


class HeadCost(Cost):
    """What a learnt head says of the way from a latent to the goal's."""

    kind: Literal["head"] = "head"
    path: Annotated[str, Field(min_length=1)]  # a file that `lewm.planning.costs.head.save_head` wrote
    over: Literal["last", "min", "mean"] = "last"  # of the latents
    # 0: the head replaces the distance. Else the cost is the head's z-score and so many times the distance's, each
    # among the candidates that are given together.
    distance_weight: Annotated[Float, Field(ge=0)] = 0


class Planning(Section):
    """Planner and cost, and how a plan is made and executed."""

    planner: Planner
    cost: Cost
    horizon: Blocks  # H
    execute: Annotated[Int, Field(gt=0)] | None = None  # blocks executed before replanning; all of the plan when None
    # Where fewer blocks are executed than planned. shrink: the next plan has the blocks that are left until the planned
    # arrival, and after it as many as `horizon` again. fixed: every plan has that many, so the arrival is put off.
    horizon_end: Literal["shrink", "fixed"] = "shrink"
    # Latents that a plan begins from, with the actions between them: the present, and those of the blocks before it.
    context: Annotated[Int, Field(gt=0, le=MOST_HISTORY)] = 1
    # on: the search begins at what is left of the plan before. off: it begins anew.
    warm_start: Literal["on", "off"] = "off"
    # How the predictor's matrix products are rounded; sums are always float32. `choose_precision` decides what auto is.
    precision: Literal["auto", "fp32", "tf32", "bf16"] = "auto"
    # on: candidates are clamped to the action bounds that are stored with the run, so that what is imagined can be
    # executed. off: they are not, as in the released code, and the environment clips what it is given.
    bounds: Literal["on", "off"] = "on"

    @model_validator(mode="after")
    def _sizes_fit(self) -> Planning:
        if self.execute is not None and self.execute > self.horizon:
            raise ValueError(f"execute {self.execute} exceeds horizon {self.horizon}")
        return self
