"""How plans are searched for, and how much of one is executed."""

from __future__ import annotations

import math
from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from lewm.config.limits import MOST_HISTORY, Blocks, Candidates, Float, Fraction, Int, Iterations
from lewm.config.section import Kind, Section

Elites = Annotated[Int, Field(ge=2)]
PolicyKind = Literal["idm", "gcbc", "gcivl"]
POLICY_KINDS: tuple[PolicyKind, ...] = get_args(PolicyKind)  # of `lewm train-policy`; `lewm.heads.policies` trains them


class Planner(Kind):
    """A search for the plan of least cost."""

    samples: Candidates  # S, plans whose costs are computed together
    iterations: Iterations

    @property
    def shortest(self) -> Planner:
        """Settings of the shortest search that has all the shapes of this one."""
        return self.model_copy(update={"iterations": 1})


def _elites_are_samples(planner: Cem | Icem) -> Cem | Icem:
    if planner.elites > planner.samples:
        raise ValueError(f"elites {planner.elites} exceeds samples {planner.samples}")
    return planner


class Cem(Planner):
    """The cross-entropy method. The released code has 300 samples, 30 elites and 30 iterations.

    The paper says 10 iterations outside Push-T.
    """

    kind: Literal["cem"] = "cem"
    samples: Candidates = 300
    iterations: Iterations = 30
    elites: Elites = 30  # E

    _elites = model_validator(mode="after")(_elites_are_samples)


class Icem(Planner):
    """The improved cross-entropy method. Elites and the settings below `noise` have the values of arXiv 2008.06389.

    Samples, iterations and noise are our choice; README.md compares it with other planners.
    """

    kind: Literal["icem"] = "icem"
    samples: Candidates = 100  # candidates of the first iteration
    iterations: Iterations = 10
    elites: Elites = 10  # E
    # β: the power of the noise falls as frequency^-β, along environment steps. The paper has 0.25 to 3.5 by task.
    noise: Annotated[Float, Field(ge=0, le=10)] = 1.0
    shrink: Annotated[Float, Field(ge=1, le=1000)] = 1.25  # samples are divided by it at each iteration, down to 2 E
    keep: Fraction = 0.3  # share of the elites that are candidates of the next iteration too
    momentum: Fraction = 0.1  # how much of the old mean and standard deviation stays at a refit

    _elites = model_validator(mode="after")(_elites_are_samples)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Candidates of each iteration."""
        shrunk = (math.ceil(self.samples * self.shrink**-iteration) for iteration in range(self.iterations))
        return tuple(min(self.samples, max(size, 2 * self.elites)) for size in shrunk)

    @property
    def kept(self) -> int:
        """Elites that are candidates of the next iteration too."""
        return int(self.keep * self.elites)

    @property
    def shortest(self) -> Planner:
        """The settings themselves: every iteration has shapes of its own, so no shorter search has them all."""
        return self


class Mppi(Planner):
    """Model predictive path integral control. Its numbers are our choice; README.md compares it with them."""

    kind: Literal["mppi"] = "mppi"
    samples: Candidates = 100
    iterations: Iterations = 10
    # Its unit is the mean cost of the candidates less the least cost.
    temperature: Annotated[Float, Field(gt=0, le=1000)] = 0.03
    # No standard deviation falls below this share of the first. 1: the first is kept throughout, as in the original.
    least_spread: Annotated[Float, Field(ge=0, le=1)] = 0.2


class Adam(Planner):
    """Gradient descent from several plans. Its numbers are our choice; README.md compares it with them."""

    kind: Literal["adam"] = "adam"
    samples: Candidates = 16
    iterations: Iterations = 30
    learning_rate: Annotated[Float, Field(gt=0, le=1000)] = 0.1  # in standard deviations of the data's actions


class Cost(Kind):
    """The cost of a plan, computed from the latents that the plan is imagined to lead to and the goal's latent."""


class LastCost(Cost):
    """Squared distance between the last latent and the goal's."""

    kind: Literal["last"] = "last"


class MinCost(Cost):
    """Squared distance between the goal's latent and the latent that comes nearest to it."""

    kind: Literal["min"] = "min"


class MeanCost(Cost):
    """Squared distance to the goal's latent, averaged over all latents."""

    kind: Literal["mean"] = "mean"


class HeadCost(Cost):
    """What a learnt head computes from a latent and the goal's, such as the steps between them."""

    kind: Literal["head"] = "head"
    # A file that `lewm.planning.costs.head.save_head` wrote; for `lewm plan`, the head of the run when None.
    path: Annotated[str, Field(min_length=1)] | None = None
    over: Literal["last", "min", "mean"] = "last"  # which of the latents count
    # 0: the head replaces the distance. Else the cost is the head's z-score plus so many times the distance's z-score,
    # both among the candidates that are given together.
    distance_weight: Annotated[Float, Field(ge=0)] = 0


class Planning(Section):
    """Planner and cost, and how a plan is made and executed."""

    # planner: a search decides. idm, gcbc, gcivl: a policy of that kind, learnt on the run's latents, decides without a
    # search; then the settings of planner, cost and warm start are not used. random: actions are uniformly random, the
    # floor. expert: the world's own demonstrator acts on its true state, the ceiling; neither of these two plans.
    agent: Literal["planner", PolicyKind, "random", "expert"] = "planner"
    planner: Planner
    cost: Cost
    horizon: Blocks  # H
    execute: Annotated[Int, Field(gt=0)] | None = None  # blocks executed before replanning; all of the plan when None
    # Matters where fewer blocks are executed than planned. shrink: the next plan has the blocks that are left until the
    # planned arrival; after the arrival it has `horizon` blocks again. fixed: every plan has `horizon` blocks, so the
    # arrival is put off.
    horizon_end: Literal["shrink", "fixed"] = "shrink"
    # Latents that a plan begins from, with the actions between them: the present, and those of the blocks before it.
    context: Annotated[Int, Field(gt=0, le=MOST_HISTORY)] = 1
    # on: the search begins at the blocks that are left of the plan before. idm: it begins at the plan of that policy.
    # off: it begins anew.
    warm_start: Literal["on", "idm", "off"] = "off"
    # How the predictor's matrix products are rounded; sums are always float32. `choose_precision` decides what auto is.
    precision: Literal["auto", "fp32", "tf32", "bf16"] = "auto"
    # on: candidates are clamped to the action bounds that are stored with the run, so that what is imagined can be
    # executed. off: they are not, as in the released code, and the environment clips what it is given.
    bounds: Literal["on", "off"] = "on"

    @property
    def plans(self) -> bool:
        """Whether the agent looks at frames and plans blocks, by a search or with a policy."""
        return self.agent not in ("random", "expert")

    @property
    def policy(self) -> PolicyKind | None:
        """The kind of the policy that decides, or at whose plan a search begins; None where there is none."""
        if self.agent == "planner":
            return "idm" if self.warm_start == "idm" else None
        return None if self.agent == "random" or self.agent == "expert" else self.agent  # mypy narrows

    @model_validator(mode="after")
    def _sizes_fit(self) -> Planning:
        if self.execute is not None and self.execute > self.horizon:
            raise ValueError(f"execute {self.execute} exceeds horizon {self.horizon}")
        if self.warm_start == "on" and self.execute in (None, self.horizon):
            raise ValueError(f"warm_start on, but all {self.horizon} blocks of a plan are executed, and none is left")
        return self
