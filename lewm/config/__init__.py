"""The configuration: one frozen tree shared by the library, the command line, config files and checkpoints.

What may be one of several kinds (encoder, predictor, objective, planner, cost) is a `Kind`; its `kind` says which.
"""

from lewm.config.encoder import (
    ConvEncoder,
    Dinov2Encoder,
    EfficientnetEncoder,
    Encoder,
    FrozenEncoder,
    FrozenProjector,
    ImpalaEncoder,
    JoinedEncoder,
    VitEncoder,
)
from lewm.config.limits import (
    MOST_BLOCKS,
    MOST_FRAMESKIP,
    MOST_STEPS,
)
from lewm.config.method import method_of
from lewm.config.model import (
    ActionEmbedder,
    AdalnPredictor,
    Model,
    PatchesPredictor,
    Predictor,
    ResidualPredictor,
)
from lewm.config.objective import (
    Exact,
    LewmObjective,
    Objective,
    PldmObjective,
    PredictionObjective,
    Sigreg,
    Sketch,
    Subspaces,
)
from lewm.config.planning import (
    POLICY_KINDS,
    Adam,
    Cem,
    Cost,
    HeadCost,
    Icem,
    LastCost,
    MeanCost,
    MinCost,
    Mppi,
    Planner,
    Planning,
    PolicyKind,
)
from lewm.config.section import Kind, Section, line_of
from lewm.config.stages import Stage, stage_of
from lewm.config.training import Evaluation, Training
from lewm.config.tree import Config, override, parse_value, resolve, validate

__all__ = [
    "MOST_BLOCKS",
    "MOST_FRAMESKIP",
    "MOST_STEPS",
    "POLICY_KINDS",
    "ActionEmbedder",
    "AdalnPredictor",
    "Adam",
    "Cem",
    "Config",
    "ConvEncoder",
    "Cost",
    "Dinov2Encoder",
    "EfficientnetEncoder",
    "Encoder",
    "Evaluation",
    "Exact",
    "FrozenEncoder",
    "FrozenProjector",
    "HeadCost",
    "Icem",
    "ImpalaEncoder",
    "JoinedEncoder",
    "Kind",
    "LastCost",
    "LewmObjective",
    "MeanCost",
    "MinCost",
    "Model",
    "Mppi",
    "Objective",
    "PatchesPredictor",
    "Planner",
    "Planning",
    "PldmObjective",
    "PolicyKind",
    "PredictionObjective",
    "Predictor",
    "ResidualPredictor",
    "Section",
    "Sigreg",
    "Sketch",
    "Stage",
    "Subspaces",
    "Training",
    "VitEncoder",
    "line_of",
    "method_of",
    "override",
    "parse_value",
    "resolve",
    "stage_of",
    "validate",
]
