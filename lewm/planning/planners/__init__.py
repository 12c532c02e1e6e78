"""Planners: searches for the plan of least cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lewm.planning.plan import Cost, Keys, Plan, Start
from lewm.planning.planners.adam import adam
from lewm.planning.planners.categorical import categorical_cem, categorical_mppi
from lewm.planning.planners.cem import cem
from lewm.planning.planners.icem import icem
from lewm.planning.planners.mppi import mppi

# The settings are a section of the planner's kind, see `lewm.config.Planner`.
Planner = Callable[[Cost, Start, Any, Keys], Plan]


@dataclass(frozen=True)
class Search:
    """The forms of one kind of planner.

    Attributes:
        numbers: The form for actions that are numbers.
        choices: The form for actions that are one-hot vectors; None where this kind of planner has none.
        differentiates: Whether it asks for the gradient of the cost. Its rollouts then take the differentiable path,
            and no CUDA graph is made of the search.
    """

    numbers: Planner
    choices: Planner | None = None
    differentiates: bool = False


# By the kind of their settings.
PLANNERS: dict[str, Search] = {
    "cem": Search(cem, choices=categorical_cem),
    "icem": Search(icem),
    "mppi": Search(mppi, choices=categorical_mppi),
    "adam": Search(adam, differentiates=True),
}
