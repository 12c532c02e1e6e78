"""LeWorldModel: train a small latent world model from pixels, plan with it, measure what it learnt."""

from lewm.checkpoints import load
from lewm.model.world_model import WorldModel

__all__ = ["WorldModel", "load"]
