"""Reacher: an arm of two links that has to take up a pose."""
