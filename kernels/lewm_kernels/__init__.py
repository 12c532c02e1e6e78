"""Fused operators of LeWorldModel, with a fast pure-PyTorch path."""
