"""Fused operators of LeWorldModel, with a fast pure-PyTorch path."""

from lewm_kernels.candidates import candidates
from lewm_kernels.philox import RandomDirections, directions, normal, philox, uniform
from lewm_kernels.rollout import rollout
from lewm_kernels.sigreg import sigreg
from lewm_kernels.sigreg_exact import sigreg_exact

__all__ = [
    "RandomDirections",
    "candidates",
    "directions",
    "normal",
    "philox",
    "rollout",
    "sigreg",
    "sigreg_exact",
    "uniform",
]
