"""The configuration: one frozen tree shared by the library, the command line, config files and checkpoints.

What may be one of several kinds (encoder, predictor, objective, planner, cost) is a `Kind`; its `kind` says which.
"""

from lewm.config.limits import (
    MOST_BLOCKS,
    MOST_FRAMESKIP,
    MOST_STEPS,
)
from lewm.config.model import ActionEmbedder, AdalnPredictor, ConvEncoder, Encoder, Model, Predictor, VitEncoder
from lewm.config.objective import LewmObjective, Objective, Sigreg, Sketch
from lewm.config.planning import Adam, Cem, Cost, Icem, LastCost, Mppi, Planner, Planning
from lewm.config.section import Kind, Section
from lewm.config.training import Evaluation, Training
from lewm.config.tree import Config, override, parse_value, resolve, validate

__all__ = [
    "MOST_BLOCKS",
    "MOST_FRAMESKIP",
    "MOST_STEPS",
    "ActionEmbedder",
    "AdalnPredictor",
    "Adam",
    "Cem",
    "Config",
    "ConvEncoder",
    "Cost",
    "Encoder",
    "Evaluation",
    "Icem",
    "Kind",
    "LastCost",
    "LewmObjective",
    "Model",
    "Mppi",
    "Objective",
    "Planner",
    "Planning",
    "Predictor",
    "Section",
    "Sigreg",
    "Sketch",
    "Training",
    "VitEncoder",
    "override",
    "parse_value",
    "resolve",
    "validate",
]
