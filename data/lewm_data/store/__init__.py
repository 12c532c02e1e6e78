"""Datasets: made, opened, checked, and read as clips."""
