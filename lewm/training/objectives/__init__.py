"""Objectives, which training minimises. Each kind of `config.objective` has a line in the table."""

from lewm.training.objectives.lewm import LewmObjective
from lewm.training.objectives.loss import Loss, Network, Objective
from lewm.training.objectives.pldm import PldmObjective
from lewm.training.objectives.prediction import PredictionObjective

OBJECTIVES: dict[str, type[Objective]] = {
    "lewm": LewmObjective,
    "pldm": PldmObjective,
    "prediction": PredictionObjective,
}

__all__ = ["OBJECTIVES", "Loss", "Network", "Objective"]
