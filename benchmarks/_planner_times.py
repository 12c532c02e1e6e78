"""The time of a plan with each of several settings, measured in one process, in turns.

B environments, L context length, D latent width, A action-block width.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from lewm.checkpoints import load
from lewm.config import Planning
from lewm.planning.controller import Controller
from lewm.planning.plan import Context

ENVIRONMENTS = 8  # the number for which a search of 300 samples plans together on a CPU


def seconds_a_plan(run: Path, settings: Sequence[Planning], turns: int) -> list[list[float]]:
    """Seconds for each turn of each of the settings: the mean over all plans until the horizon is whole again.

    The time does not depend on the task, so latents are random.
    """
    model = load(run)
    controllers = [Controller(model, planning, seed=0) for planning in settings]
    taken: list[list[float]] = [[] for _ in settings]
    for turn in range(turns + 1):  # the first warms up
        for controller, seconds in zip(controllers, taken, strict=True):
            stages = len(controller.schedule.stages)
            begun = time.perf_counter()
            for replan in range(stages):
                _plan(controller, replan)
            if turn:
                seconds.append((time.perf_counter() - begun) / stages / ENVIRONMENTS)
    return taken


def _plan(controller: Controller, replan: int) -> None:
    config, length = controller.model.config, controller.planning.context
    generator = torch.Generator().manual_seed(replan)
    latents = torch.randn(ENVIRONMENTS, length, config.latent, generator=generator)  # (B, L, D)
    between = torch.randn(ENVIRONMENTS, length - 1, config.action_block, generator=generator)  # (B, L - 1, A)
    context = Context(latents, between if length > 1 else None)
    goals = torch.randn(ENVIRONMENTS, config.latent, generator=generator)
    controller.plan(context, goals, np.arange(ENVIRONMENTS), replan)


def against_the_first(taken: list[list[float]]) -> list[float]:
    """Median over turns of how many times as long as the first each took in the same turn."""
    return [statistics.median(own / base for own, base in zip(one, taken[0], strict=True)) for one in taken]
