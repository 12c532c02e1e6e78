"""Measures that several parts of lewm share."""
