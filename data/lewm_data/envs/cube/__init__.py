"""Cube: an arm with a gripper that has to put a cube somewhere else, from OGBench."""
