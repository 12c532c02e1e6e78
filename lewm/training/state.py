"""Everything a training step changes, saved so that a killed run continues bit-exactly on the CPU.

Batches, directions, dropout and the learning rate are functions of (seed, step), so the weights, the optimiser's
moments and the step number are all there is.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from lewm.checkpoints import run
from lewm.config import Training
from lewm.errors import LewmError
from lewm.model.world_model import WorldModel


def make_optimizer(model: WorldModel, config: Training) -> torch.optim.AdamW:
    """AdamW over all parameters, as released."""
    return torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)


def save(directory: Path, model: WorldModel, optimizer: torch.optim.AdamW, step: int) -> None:
    """Write a checkpoint after `step` steps; a kill at any moment leaves the previous one or this one."""
    weights = model.state_dict()
    tensors = {f"model.{name}": tensor for name, tensor in weights.items()}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer.{name}.{key}"] = value
    run.save_tensors(directory / run.TRAINING, tensors, {"step": str(step)})
    run.save_tensors(directory / run.MODEL, weights, {"step": str(step)})


def restore(directory: Path, model: WorldModel, optimizer: torch.optim.AdamW) -> int:
    """Load the checkpoint into `model` and `optimizer`; the number of steps it was taken after, 0 without one."""
    path = directory / run.TRAINING
    if not path.is_file():
        return 0
    tensors = run.read_tensors(path)
    weights = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
    run.restore(model, weights, path)
    try:
        step = int(run.read_metadata(path)["step"])
        for name, parameter in model.named_parameters():
            state = {key: tensors[f"optimizer.{name}.{key}"] for key in ("step", "exp_avg", "exp_avg_sq")}
            optimizer.state[parameter] = {key: _beside(value, parameter, key) for key, value in state.items()}
    except (KeyError, ValueError) as error:
        raise LewmError(f"{path}: incomplete, {error} is missing", "Train again without --resume.") from error
    return step


def _beside(value: Tensor, parameter: Tensor, key: str) -> Tensor:
    """Optimiser moments lie as their parameter does (device and memory format); the fused step counter too."""
    if key == "step":
        return value.to(parameter.device)
    return torch.empty_like(parameter).copy_(value)
