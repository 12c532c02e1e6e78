"""The check before times are measured: every path's costs against those of the reference in float64.

B environments, S candidates.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from _measure import reason
from _planning_case import Case, Row
from _planning_paths import Path, settings_of, true_costs
from torch import Tensor

# Relative errors of a cost that rounding explains: to float32, to ten bits of mantissa, and to seven.
ROUNDING = {"fp32": 1e-4, "tf32": 1e-2, "bf16": 1e-1}
CPU_ENVIRONMENTS = 2  # enough to find a mistake, where float64 takes long


@dataclass(frozen=True)
class Checked:
    """The paths of a case that are right, facts about each, and the faults of the others.

    Attributes:
        paths: The paths whose results agree with the reference, by name.
        about: The relative error of each of them, and whether two calls gave the same bits.
        faults: The fault of each of the others.
    """

    paths: dict[str, Path]
    about: dict[str, Row]
    faults: dict[str, str]

    @contextlib.contextmanager
    def or_fault(self, name: str) -> Iterator[None]:
        """Turns any exception of a path into a fault, so that the others are still measured."""
        try:
            yield
        except Exception as error:
            self.paths.pop(name, None)
            self.faults[name] = reason(error)


def check(case: Case, B: int) -> Checked:
    """Compares all paths, for as many environments as will be timed; on a CPU for two at most."""
    planning = case.planning
    inputs = case.inputs(
        min(B, CPU_ENVIRONMENTS) if case.device.type == "cpu" else B, planning.planner.samples, planning.horizon
    )
    truth = true_costs(case.model, *inputs)
    checked = Checked({}, {}, dict(case.left_out))
    for name in [name for name in case.paths if name not in case.left_out]:
        path = case.paths[name]
        with checked.or_fault(name):
            costs, again = path.costs(*inputs), path.costs(*inputs)
            wrong = judge(costs, truth, settings_of(planning).elites, path.precision)
            if wrong:
                checked.faults[name] = wrong
                continue
            checked.paths[name] = path
            error = float((costs.double() - truth).norm() / truth.norm())
            checked.about[name] = {"error": float(f"{error:.3g}"), "repeats": torch.equal(costs, again)}
    return checked


def judge(costs: Tensor, truth: Tensor, elites: int, precision: str) -> str | None:
    """The fault of costs (B, S), or None: they differ from the true ones by more than rounding, or choose others."""
    costs, truth, limit = costs.double(), truth.double(), ROUNDING[precision]
    error = float((costs - truth).norm() / truth.norm())
    if not error < limit:
        return f"costs differ from the reference's by {error:.2g}"
    chosen = truth.gather(1, costs.topk(elites, largest=False).indices)
    dearest = truth.topk(elites, largest=False).values[:, -1]  # the highest cost among the true elites
    excess = float((chosen.amax(dim=1) / dearest).max()) - 1
    return f"an elite is dearer than all of the reference's, by {excess:.2g}" if excess > limit else None
