"""Everything a training step changes, saved so that a killed run continues bit-exactly on the CPU.

Batches, directions, dropout and the learning rate are functions of (seed, step), so the weights of the model and of the
objective, the optimiser's moments and the step number are all there is. In the file their names begin with `model.`,
`objective.` and `optimizer.`; frozen parameters have no moments.
"""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

import safetensors
import torch
from torch import Tensor, nn

from lewm.checkpoints import run
from lewm.checkpoints.faults import not_finite, refuse_not_finite, shortened
from lewm.config import Training
from lewm.errors import LewmError
from lewm.model.world_model import WorldModel
from lewm.training.objectives import Objective

log = logging.getLogger(__name__)


def make_optimizer(model: WorldModel, objective: Objective, config: Training) -> torch.optim.AdamW:
    """AdamW over all parameters that are not frozen, as released."""
    trained = [parameter for _, parameter in _trained(_learnt(model, objective))]
    return torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)


def save(directory: Path, model: WorldModel, objective: Objective, optimizer: torch.optim.AdamW, step: int) -> None:
    """Write a checkpoint after `step` steps; a kill at any moment leaves the previous one or this one.

    Raises:
        FloatingPointError: some weights are not finite; nothing is written.
        OSError: there is no room, or the run cannot be written.
    """
    learnt = _learnt(model, objective)
    tensors = dict(learnt.state_dict())
    for name, parameter in _trained(learnt):
        for key, value in (optimizer.state.get(parameter) or _no_moments(parameter)).items():
            tensors[f"optimizer.{name}.{key}"] = value
    names = not_finite(tensors)
    if names:
        raise FloatingPointError(f"the weights are not finite after step {step} ({shortened(names)})")
    _keep_previous(directory)
    run.save_tensors(directory / run.TRAINING, tensors, {"step": str(step)})
    run.save_tensors(directory / run.MODEL, model.state_dict(), {"step": str(step)})


def kept_step(directory: Path) -> int | None:
    """The step of the checkpoint that a run goes on from, as its header says; None where there is none."""
    for path in (directory / run.TRAINING, directory / run.PREVIOUS):
        with (
            contextlib.suppress(OSError, safetensors.SafetensorError, KeyError, ValueError),
            safetensors.safe_open(path, framework="pt") as file,
        ):
            return int((file.metadata() or {})["step"])
    return None


def restore(directory: Path, model: WorldModel, objective: Objective, optimizer: torch.optim.AdamW, steps: int) -> int:
    """Load the newest sound checkpoint into model, objective and optimiser; returns its step, 0 if there is none.

    Where the newest checkpoint is damaged or missing, the one before is used and takes its place, and a warning says
    so. The weights of a run that has all its `steps` are not replaced in this way.

    Raises:
        LewmError: no checkpoint is sound, or the newest is not sound and the run is finished.
    """
    newest, previous = directory / run.TRAINING, directory / run.PREVIOUS
    try:
        return _load(newest, _learnt(model, objective), optimizer)
    except LewmError as error:
        fault = error.problem
    if is_finished(directory, steps):
        raise LewmError(
            f"{fault}; the run is finished, and the weights in {run.MODEL} are whole",
            f"Use the run as it is. To train its last steps again, remove {run.MODEL} first.",
        )
    if not previous.exists():
        if not newest.exists():
            return 0
        raise LewmError(
            f"{fault}; there is no older checkpoint",
            f'Restore the file, or remove it: "{run.resume_command(directory)}" then begins at step 0.',
        )
    try:
        step = _load(previous, _learnt(model, objective), optimizer)
    except LewmError as error:
        raise LewmError(
            f"{fault}; {error.problem}",
            f'Restore one, or remove both: "{run.resume_command(directory)}" then begins at step 0.',
        ) from error
    log.warning("%s. The older checkpoint is used: %s, of step %d.", fault, previous.name, step)
    previous.replace(newest)
    return step


def renew_model(directory: Path, model: WorldModel, step: int) -> None:
    """Write model.safetensors where it is damaged, missing or of another step than the training checkpoint."""
    path = directory / run.MODEL
    if path.exists():
        try:
            stored, metadata = run.read_with_metadata(path)
            if metadata.get("step") == str(step) and run.same_weights(stored, model):
                return
        except LewmError as error:
            log.warning("%s. It is written anew from the training checkpoint.", error.problem)
    run.save_tensors(path, model.state_dict(), {"step": str(step)})


def _keep_previous(directory: Path) -> None:
    """Give the last checkpoint a second name before the next one takes its first name; it is never without a name."""
    newest, previous = directory / run.TRAINING, directory / run.PREVIOUS
    if not newest.exists():
        return
    previous.unlink(missing_ok=True)
    try:
        previous.hardlink_to(newest)
    except OSError:  # no links: for a moment only the older name is there, and is resumed from
        newest.replace(previous)


def is_finished(directory: Path, steps: int) -> bool:
    """Whether model.safetensors is sound and was written after the last step."""
    try:
        return run.read_with_metadata(directory / run.MODEL)[1].get("step") == str(steps)
    except LewmError:
        return False


def _learnt(model: WorldModel, objective: Objective) -> nn.Module:
    """Model and objective as one module, which gives their tensors the names that they have in the file."""
    return nn.ModuleDict({"model": model, "objective": objective})


def _trained(learnt: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, parameter) for name, parameter in learnt.named_parameters() if parameter.requires_grad]


def _no_moments(parameter: Tensor) -> dict[str, Tensor]:
    """The state that AdamW begins with, at the first gradient of a parameter."""
    return {"step": torch.zeros(()), "exp_avg": torch.zeros_like(parameter), "exp_avg_sq": torch.zeros_like(parameter)}


def _load(path: Path, learnt: nn.Module, optimizer: torch.optim.AdamW) -> int:
    tensors, metadata = run.read_with_metadata(path)
    weights = {name: tensor for name, tensor in tensors.items() if not name.startswith("optimizer.")}
    try:
        step = int(metadata["step"])
        moments = {
            parameter: {
                key: _beside(tensors[f"optimizer.{name}.{key}"], parameter, key) for key in _no_moments(parameter)
            }
            for name, parameter in _trained(learnt)
        }
    except (KeyError, ValueError, RuntimeError) as error:
        raise LewmError(f"{path}: incomplete ({error})", "Restore the file.") from error
    refuse_not_finite(path, tensors, "Restore the file.")
    run.restore(learnt, weights, path)
    for parameter, stored in moments.items():
        optimizer.state[parameter] = stored
    return step


def _beside(value: Tensor, parameter: Tensor, key: str) -> Tensor:
    """The value on its parameter's device, the fused step counter included; moments also in its memory format."""
    if key == "step":
        return value.to(parameter.device)
    return torch.empty_like(parameter).copy_(value)
