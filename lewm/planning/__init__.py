"""Planners, costs, and the controller that joins them to a world model."""
