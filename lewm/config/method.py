"""What the method is called by which a model is trained."""

from __future__ import annotations

from lewm.config.model import PatchesPredictor
from lewm.config.objective import LewmObjective, Objective, PldmObjective, PredictionObjective, Subspaces
from lewm.config.tree import Config


def method_of(config: Config) -> str:
    """The method's name, for example "PLDM"; that of LeWorldModel where nothing says otherwise.

    In a training in stages, the stages decide in which the latents are trained.
    """
    if isinstance(config.model.predictor, PatchesPredictor):
        return "DINO-WM"
    objectives = [*(stage.objective for stage in config.stages.values()), config.objective]
    names = [_name(one) for one in objectives if not isinstance(one, PredictionObjective)]
    return " and ".join(dict.fromkeys(names)) or "LeWM"


def _name(objective: Objective) -> str:
    if isinstance(objective, LewmObjective):
        return "Sub-JEPA" if isinstance(objective.sigreg, Subspaces) else "LeWM"
    return "PLDM" if isinstance(objective, PldmObjective) else objective.kind
