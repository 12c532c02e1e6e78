"""What runs where on this machine, and whether it computes what its definition says.

Shapes: T time steps, N embeddings, D latent width, M directions, K knots, B streams or environments, R groups of G
blocks of random numbers, S candidates, L context length, H horizon in blocks, A action-block width.
"""

from __future__ import annotations

import importlib
import math
import os
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

import lewm_kernels
from lewm import recipes
from lewm.config import resolve
from lewm.errors import unknown
from lewm.model import build
from lewm.provenance import versions
from lewm.runtime import physical_memory
from lewm_kernels.candidates import reference as candidates_reference
from lewm_kernels.dispatch import OPERATORS, VARIABLE, BackendError, choose
from lewm_kernels.philox import G
from lewm_kernels.rollout import pack
from lewm_kernels.rollout import reference as rollout_reference
from lewm_kernels.sigreg import reference
from lewm_kernels.sigreg_exact import reference as exact_reference

# Relative errors against float64 that no rounding of float32 explains.
_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Device:
    """A device of this machine."""

    name: str
    description: str
    memory: int


@dataclass(frozen=True)
class OperatorReport:
    """An operator on a device: which backend it takes, for which reason, and how its self-test went.

    `error` is the largest relative error against the definition in float64. It is None where the operator did not
    run, or gave something else altogether; `problem` then says what happened.
    """

    operator: str
    device: str
    backend: str | None
    reason: str
    error: float | None
    problem: str | None

    @property
    def healthy(self) -> bool:
        """Whether the self-test passed."""
        return self.problem is None


@dataclass(frozen=True)
class Diagnosis:
    """Versions, devices, and every operator on every device."""

    versions: dict[str, str | None]
    forced: str | None  # the environment variable LEWM_KERNELS
    devices: tuple[Device, ...]
    operators: tuple[OperatorReport, ...]

    @property
    def healthy(self) -> bool:
        """Whether every self-test passed."""
        return all(report.healthy for report in self.operators)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        operators = [asdict(report) | {"healthy": report.healthy} for report in self.operators]
        return asdict(self) | {"operators": operators, "healthy": self.healthy}


def diagnose() -> Diagnosis:
    """Look at every device and test every operator on it.

    Raises:
        LewmError: If the environment variable LEWM_KERNELS names no backend.
    """
    forced = os.environ.get(VARIABLE)
    known = {"auto"}.union(*OPERATORS.values())
    if forced and forced not in known:
        raise unknown(f"value of the environment variable {VARIABLE}", forced, known)
    devices = _devices()
    reports = [_examine(name, torch.device(device.name)) for device in devices for name in OPERATORS]
    return Diagnosis(
        versions={**versions(), "triton": _triton_version()},
        forced=forced,
        devices=devices,
        operators=tuple(reports),
    )


def _triton_version() -> str | None:
    try:
        return str(importlib.import_module("triton").__version__)
    except (ImportError, OSError, RuntimeError):  # it is absent or broken: the operators' reasons tell which
        return None


def _devices() -> tuple[Device, ...]:
    cpu = f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"
    found = [("cpu", cpu)]
    found += [(f"cuda:{i}", torch.cuda.get_device_name(i)) for i in range(torch.cuda.device_count())]
    found += [("mps", "shares the machine's memory")] * torch.backends.mps.is_available()
    return tuple(Device(name, description, physical_memory(torch.device(name))) for name, description in found)


def _examine(operator: str, device: torch.device) -> OperatorReport:
    try:
        choice = choose(operator, device)
    except BackendError as refusal:
        reason = str(refusal).splitlines()[0].removeprefix(f"{operator}: ")
        return OperatorReport(operator, str(device), None, reason, None, reason)
    error, problem = _self_test(operator, device)
    return OperatorReport(operator, str(device), choice.backend, choice.reason, error, problem)


def _self_test(operator: str, device: torch.device) -> tuple[float | None, str | None]:
    """The error, and what is wrong."""
    try:
        error = _SELF_TESTS[operator](device)
    except Exception as failure:  # whatever it is, the person who asks has to see it beside the rest
        first = next(iter(str(failure).splitlines()), "")
        return None, f"{type(failure).__name__}: {first}"
    if not math.isfinite(error):
        return None, "its numbers are not those of the definition"
    return error, None if error <= _TOLERANCE else f"its relative error of {error:.2g} is above {_TOLERANCE:g}"


def _sigreg_error(device: torch.device) -> float:
    """Error of value and gradient, for a matrix of directions and for random ones, at sizes that no tile divides."""
    T, N, D, M, K = 2, 67, 37, 130, 17
    streams = torch.zeros(1, 3, dtype=torch.int64)
    z = lewm_kernels.normal(0, streams, T * N * D).view(T, N, D) + 0.3
    random = lewm_kernels.RandomDirections(seed=3, step=(1 << 32) + 5, count=M)
    directions, knots = lewm_kernels.directions(random.seed, random.step, D, M), torch.linspace(0, 3, K)
    exact = z.double().requires_grad_()
    expected = reference.sigreg(exact, directions.double(), knots.double())
    expected.sum().backward()
    assert exact.grad is not None
    errors = []
    for source in (directions.to(device), random):
        got = z.clone().to(device).requires_grad_()
        value = lewm_kernels.sigreg(got, source, knots)
        value.sum().backward()
        assert got.grad is not None
        errors += [_relative(value.detach(), expected.detach()), _relative(got.grad, exact.grad)]
    return max(errors)


def _sigreg_exact_error(device: torch.device) -> float:
    """Error of value and gradient, at sizes that no tile divides."""
    T, N, D, K = 2, 37, 19, 17
    streams = torch.zeros(1, 3, dtype=torch.int64)
    z = lewm_kernels.normal(0, streams, T * N * D).view(T, N, D) + 0.3
    knots = torch.linspace(0, 3, K)
    exact, got = z.double().requires_grad_(), z.to(device).requires_grad_()
    expected, value = exact_reference.sigreg_exact(exact, knots.double()), lewm_kernels.sigreg_exact(got, knots)
    expected.sum().backward()
    value.sum().backward()
    assert exact.grad is not None
    assert got.grad is not None
    return max(_relative(value.detach(), expected.detach()), _relative(got.grad, exact.grad))


def _philox_error(device: torch.device) -> float:
    """Error of normal numbers and directions; infinite where a word or a uniform number is not exactly as defined."""
    # Random123's known answer for the counter and key of digits of π.
    counter = torch.tensor([[0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344]], device=device)
    words = lewm_kernels.philox(0x299F31D0_A4093822, counter)
    if words.tolist() != [[0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]]:
        return math.inf

    seed, R, stream = 7, 3, (5, 6, 9)
    streams = torch.tensor([stream], device=device)
    uniform = _define_uniform(seed, stream, R, G)
    if not torch.equal(lewm_kernels.uniform(seed, streams, R * 4 * G).cpu().double(), uniform.view(1, -1)):
        return math.inf

    D, M, step = 37, 40, 11
    columns = _define_normal(_define_uniform(seed, (step, 0, (1 << 32) - 1), -(-D // 4), M)).view(-1, M)[:D]
    return max(
        _relative(lewm_kernels.normal(seed, streams, R * 4 * G), _define_normal(uniform).view(1, -1)),
        _relative(lewm_kernels.directions(seed, step, D, M, device), columns / columns.norm(dim=0)),
    )


def _define_uniform(seed: int, stream: tuple[int, int, int], R: int, G: int) -> Float64[Tensor, "{R} 2 2 {G}"]:
    """The 23 leading bits of word j of block i of group g, which is element 4Gg + Gj + i."""
    blocks = torch.tensor([[i, *stream] for i in range(R * G)])
    leading = lewm_kernels.philox(seed, blocks).bitwise_right_shift(9).view(R, G, 2, 2).permute(0, 2, 3, 1).contiguous()
    return (leading.double() + 0.5) * 2.0**-23


def _define_normal(uniform: Float64[Tensor, "R 2 2 G"]) -> Float64[Tensor, "R 2 2 G"]:
    """Normal numbers by Box and Muller's formula."""
    radius, angle = (-2 * uniform[:, :, 0].log()).sqrt(), 2 * torch.pi * uniform[:, :, 1]  # (R, 2, G)
    return torch.stack([radius * angle.cos(), radius * angle.sin()], dim=2)


def _candidates_error(device: torch.device) -> float:
    """Error of candidates, at sizes that no tile divides."""
    seed, B, S, H, A = 7, 3, 29, 3, 7
    streams = torch.arange(3 * B).view(B, 3)
    mean, std = lewm_kernels.uniform(seed, streams, 2 * H * A).view(B, 2, H, A).unbind(1)
    got = lewm_kernels.candidates(seed, streams.to(device), mean.to(device), std.to(device), S)
    return _relative(got, candidates_reference.candidates(seed, streams, mean.double(), std.double(), S))


def _rollout_error(device: torch.device) -> float:
    """Error of a model with random weights, whose window grows, then slides."""
    config = resolve(recipes.small("two-room", 2), None, {"model.predictor.history": 3}).model
    model = build(config)
    B, S, H, L, A, D = 2, 67, 3, 2, config.action_block, config.latent
    generator = torch.Generator().manual_seed(0)

    def random(tensor: Tensor) -> Tensor:
        noise = torch.randn(tensor.shape, generator=generator)
        return noise / math.sqrt(tensor.shape[-1]) if tensor.ndim == 2 else 1 + 0.1 * noise

    parameters = {name: random(tensor) for name, tensor in model.state_dict().items()}
    inputs = [torch.randn(shape, generator=generator) for shape in ((B, L, D), (B, S, H, A), (B, L - 1, A))]
    heads = model.predictor.heads
    assert heads is not None
    packed = pack({name: tensor.to(device) for name, tensor in parameters.items()}, heads=heads)
    got = lewm_kernels.rollout(packed, *(tensor.to(device) for tensor in inputs))
    exact = {name: tensor.double() for name, tensor in parameters.items()}
    return _relative(got, rollout_reference.rollout(exact, *(tensor.double() for tensor in inputs), heads=heads))


def _relative(got: Float[Tensor, "*shape"], exact: Float[Tensor, "*shape"]) -> float:
    error = float((got.cpu().double() - exact).norm() / exact.norm())
    return math.inf if math.isnan(error) else error  # max() may lose a NaN


_SELF_TESTS: dict[str, Callable[[torch.device], float]] = {
    "sigreg": _sigreg_error,
    "sigreg_exact": _sigreg_exact_error,
    "philox": _philox_error,
    "candidates": _candidates_error,
    "rollout": _rollout_error,
}
