"""Tasks that are drawn from a small dataset, and requests to plan for them."""

import numpy as np
import torch

from lewm.evaluation.from_dataset import draw_tasks
from lewm.evaluation.requests import FromDataset, PlanRequest
from lewm_data.envs.registry import world

CPU = torch.device("cpu")


WORLD = world("two-room")


HELD_OUT = np.array([3, 7, 11])


def draw(dataset, protocol="held-out", count=20, goal_offset=25, seed=0):
    return draw_tasks(dataset, WORLD, protocol, HELD_OUT, count, goal_offset, 50, seed)


def of(tasks, name):
    """One property of all tasks, concatenated."""
    return np.stack([getattr(task if hasattr(task, name) else task.start, name) for task in tasks.each])


def request(run, tiny, protocol="held-out", data=None, episodes=5, **changes):
    return PlanRequest(run, FromDataset(data, protocol, episodes, tiny.evaluation), tiny.planning, 0, **changes)
