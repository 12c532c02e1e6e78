"""Fused operators of LeWorldModel, with a fast pure-PyTorch path."""

from lewm_kernels.philox import RandomDirections, directions, normal, philox, uniform
from lewm_kernels.sigreg import sigreg

__all__ = ["RandomDirections", "directions", "normal", "philox", "sigreg", "uniform"]
