"""Compares the least memory that is needed with what there is, before any is taken.

Where it is too little, an error gives both numbers; without it, the system would kill the process.
"""

from __future__ import annotations

import torch

from lewm.config import Config, Planning
from lewm.errors import LewmError
from lewm.runtime import physical_memory

FLOAT = 4  # bytes
COPIES = 4  # numbers that training holds for each trained weight: itself, its gradient, the two averages of AdamW


def check_memory(needed: int, device: torch.device, what: str, remedy: str) -> None:
    """Raises where `what` needs more bytes than `device` has.

    Raises:
        LewmError: Says how much is needed and how much there is.
    """
    there = physical_memory(device)
    if needed > there:
        raise LewmError(f"{what} needs at least {_size(needed)} of memory, {device} has {_size(there)}", remedy)


def check_training(config: Config, parameters: int, frozen: int, frame: tuple[int, int], device: torch.device) -> None:
    """Raises where weights, one batch of frames, and what the predictor and the loss hold, do not fit on `device`.

    Args:
        parameters: Number of the model's parameters that are trained.
        frozen: Number of those that are not.
        frame: Y and X of the data's frames.

    Raises:
        LewmError: The memory is too small, see `check_memory`.
    """
    steps = config.model.predictor.history + 1
    width = FLOAT if config.training.precision == "fp32" else FLOAT // 2  # bytes of a number in the predictor
    pixels = 3 * (frame[0] * frame[1] + FLOAT * config.model.frame_size**2)  # bytes as read and as the model sees them
    needed = (
        FLOAT * (COPIES * parameters + frozen)
        + config.training.batch_size * steps * pixels
        + FLOAT * config.objective.floats(config.training.batch_size, steps, config.model.latent)
        + width * config.model.predictor.floats(config.training.batch_size, config.model.latent)
    )
    sizes = [
        "training.batch_size",
        "model.predictor.history",
        *(f"objective.{key}" for key in config.objective.sizes()),
    ]
    check_memory(needed, device, "training", f"Lower {', '.join(sizes)} or the widths of the model.")


def check_planning(planning: Planning, action_block: int, device: torch.device) -> None:
    """Raises where the candidates for a single environment are more than `device` holds.

    Raises:
        LewmError: The memory is too small, see `check_memory`.
    """
    needed = FLOAT * planning.planner.samples * planning.horizon * action_block
    check_memory(needed, device, "a plan", "Lower --samples or --horizon.")


def _size(count: int) -> str:
    return f"{count / 2**30:,.1f} GiB"
