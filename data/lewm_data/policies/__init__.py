"""Policies that collect data, and the random policy, with which every result is compared."""

from lewm_data.policies.policy import Policy
from lewm_data.policies.random import RandomPolicy, SmoothPolicy
from lewm_data.policies.two_room import TwoRoomExpert

__all__ = ["Policy", "RandomPolicy", "SmoothPolicy", "TwoRoomExpert"]
