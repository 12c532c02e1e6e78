"""What training minimises."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from lewm.config.limits import Directions, Float, Knots
from lewm.config.section import Kind

KnotMax = Annotated[Float, Field(gt=0)]


class Sigreg(Kind):
    """How far embeddings are from a Gaussian: the forms that this statistic has.

    Knots are uniform on [0, knot_max]. 17 on [0, 3] are the released code's ("[0.2, 4]" in the paper).
    """

    knots: Knots = 17  # K
    knot_max: KnotMax = 3.0


class Sketch(Sigreg):
    """The mean over random directions, drawn anew each step. 1024 are the paper's and the released code's."""

    kind: Literal["sketch"] = "sketch"
    directions: Directions = 1024  # M


class Objective(Kind):
    """A loss."""


class LewmObjective(Objective):
    """The two-term loss: prediction error plus `lambda` times SIGReg."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)

    kind: Literal["lewm"] = "lewm"
    # Released config; the paper says 0.1 and finds every value in [0.01, 0.2] good.
    lambda_: Annotated[Float, Field(ge=0, alias="lambda")] = 0.09
    sigreg: Sigreg = Sketch()
