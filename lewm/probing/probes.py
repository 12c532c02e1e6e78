"""The two probes: ridge regression and a small MLP, from features to the numbers of a quantity.

N frames, D feature width, C numbers of a quantity, T test frames.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64
from torch import nn

from lewm.probing.features import OnShare
from lewm.probing.repeatable import one_thread, seeded
from lewm.probing.sample import Sample
from lewm_data.store.clips import CONSTANT

RIDGE_STRENGTHS = tuple(float(strength) for strength in np.logspace(-8, 2, 41))


@dataclass(frozen=True)
class MlpSettings:
    """Size and training of the MLP probe; the paper publishes neither for its own.

    The learning rate falls to 0 along a cosine; the weights with the least validation error are kept.
    """

    hidden: tuple[int, ...] = (256, 256)
    activation: str = "GELU"
    optimizer: str = "AdamW"
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    batch_size: int = 256
    steps: int = 1500
    validate_every: int = 50


MLP = MlpSettings()


@dataclass(frozen=True)
class Fit:
    """A fitted probe.

    Attributes:
        predicted: Predictions on the test frames, in z-scores.
        chosen: What the validation episodes chose: the ridge strength, or the step at which the MLP was best.
    """

    predicted: Float64[np.ndarray, "T C"]
    chosen: float | int


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation over the train frames; what does not vary there is 0 as a z-score."""

    mean: Float64[np.ndarray, " C"]
    std: Float64[np.ndarray, " C"]

    @classmethod
    def of(cls, train: Float[np.ndarray, "N C"]) -> Scale:
        """The scale of the train frames, measured in float64."""
        mean, std = train.mean(axis=0, dtype=np.float64), train.std(axis=0, dtype=np.float64)
        return cls(mean, np.where(std > CONSTANT * np.maximum(np.abs(mean), 1e-30), std, np.inf))

    def z(self, values: Float[np.ndarray, "N C"]) -> Float64[np.ndarray, "N C"]:
        """The values as z-scores."""
        return (values - self.mean) / self.std

    def undo(self, z: Float64[np.ndarray, "N C"]) -> Float64[np.ndarray, "N C"]:
        """The values of z-scores, in their own units."""
        return z * self.std + self.mean


def settings() -> dict[str, Any]:
    """How the probes are made, for the report."""
    return {
        "linear": {"name": "ridge regression, closed form", "strengths": list(RIDGE_STRENGTHS)},
        "mlp": asdict(MLP),
        "chosen_by": "mean squared error on the validation episodes",
    }


def linear_probe(x: Float64[np.ndarray, "N D"], y: Float64[np.ndarray, "N C"], sample: Sample) -> Fit:
    """Ridge regression of z-scores on z-scores.

    W = (XᵀX / n + strength I)⁻¹ XᵀY / n over the n train frames, for every strength from one eigendecomposition.
    """
    train = x[sample.train]
    eigenvalues, vectors = np.linalg.eigh(train.T @ train / len(train))
    rotated = vectors.T @ (train.T @ y[sample.train] / len(train))  # (D, C)
    validation = x[sample.validation] @ vectors

    def weights(strength: float) -> Float64[np.ndarray, "D C"]:
        return rotated / (np.maximum(eigenvalues, 0) + strength)[:, None]

    errors = [np.square(validation @ weights(a) - y[sample.validation]).mean() for a in RIDGE_STRENGTHS]
    strength = RIDGE_STRENGTHS[int(np.argmin(errors))]
    return Fit(x[sample.test] @ vectors @ weights(strength), strength)


@one_thread()
def mlp_probe(
    x: Float64[np.ndarray, "N D"],
    y: Float64[np.ndarray, "N C"],
    sample: Sample,
    seed: int,
    device: torch.device,
    on_share: OnShare,
) -> Fit:
    """An MLP with the settings `MLP`, trained on z-scores; on a CPU the fit is a function of the arguments alone."""
    inputs = torch.from_numpy(x).float().to(device)
    targets = torch.from_numpy(y).float().to(device)
    train_inputs, train_targets = inputs[sample.train], targets[sample.train]
    with seeded(seed):
        network = _network(x.shape[1], y.shape[1]).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=MLP.learning_rate, weight_decay=MLP.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, MLP.steps)
    generator = torch.Generator().manual_seed(seed)
    least, best, kept = np.inf, 0, network
    for step in range(1, MLP.steps + 1):
        batch = torch.randint(len(train_inputs), (MLP.batch_size,), generator=generator).to(device)
        optimizer.zero_grad(set_to_none=True)
        F.mse_loss(network(train_inputs[batch]), train_targets[batch]).backward()
        optimizer.step()
        schedule.step()
        if step % MLP.validate_every == 0:
            with torch.inference_mode():
                error = float(F.mse_loss(network(inputs[sample.validation]), targets[sample.validation]))
            if error < least:
                least, best, kept = error, step, copy.deepcopy(network)
            on_share(step / MLP.steps)
    with torch.inference_mode():
        predicted = kept(inputs[sample.test]).cpu().double().numpy()
    return Fit(predicted, best)


def _network(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    width = inputs
    for hidden in MLP.hidden:
        layers += [nn.Linear(width, hidden), nn.GELU()]
        width = hidden
    return nn.Sequential(*layers, nn.Linear(width, outputs))
