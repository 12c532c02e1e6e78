"""Datasets and environments for world models; knows nothing of any model."""
