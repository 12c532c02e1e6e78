"""The ways to plan that bench_planning.py compares.

B environments, S candidates, E elites, H horizon in blocks, A action-block width, D latent width.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import _stable_worldmodel
import torch
import torch.nn.functional as F
from _counts import needed
from torch import Tensor

from lewm.config import Planning
from lewm.model.world_model import WorldModel
from lewm.planning.cem import Gaussian, Keys, cem
from lewm.planning.cost import rows_together
from lewm.planning.solver import Solver
from lewm_kernels._dispatch import choose
from lewm_kernels.rollout import Packed, reference, rollout

SEED = 0
# Relative errors of a cost that rounding explains: of float32, of ten bits of mantissa, and of seven.
ROUNDING = {"fp32": 1e-4, "tf32": 1e-2, "bf16": 1e-1}

Rollout = Callable[[Tensor, Tensor], Tensor]  # latents (B, 1, D), candidates (B, S, H, A) -> (B, S, H, D)
Costs = Callable[[Tensor, Tensor, Tensor], Tensor]  # latents (B, D), goals (B, D), candidates -> (B, S)
Solve = Callable[[Tensor, Tensor, Planning], Tensor]  # latents (B, D), goals (B, D) -> normalised blocks (B, H, A)


@dataclass(frozen=True)
class Path:
    """One way to plan.

    Attributes:
        precision: Of the matrix products.
        backend: Of the rollout: one of the operator's, "reference", or another package.
        costs: Of candidates.
        solve: The whole search, from latents.
        graph: Whether it runs as a CUDA graph.
    """

    precision: str
    backend: str
    costs: Costs
    solve: Solve
    graph: bool = False


def all_paths(model: WorldModel, compiled: bool) -> dict[str, Path]:
    """Every path that runs on the model's device, baselines first. "lewm" is what a user of the library gets."""
    on_cuda = model.device.type == "cuda"
    paths = baselines(model, compiled)
    for precision in ("fp32", "tf32", "bf16") if on_cuda else ("fp32",):
        packed = model.pack(precision)
        backends = ["torch", "triton"] if on_cuda else []  # on the CPU, torch is what "lewm" takes
        for backend in backends:
            operator = functools.partial(rollout, packed, backend=backend)
            paths[f"{backend} {precision}"] = _searching(model, precision, backend, operator)
        paths[f"lewm {precision}"] = _library(model, packed)
    return paths


def baselines(model: WorldModel, compiled: bool) -> dict[str, Path]:
    """The released arithmetic in our search, and the released search where it is installed."""
    paths = {}
    for precision in ("fp32", "bf16") if model.device.type == "cuda" else ("fp32",):
        plain = _reference(model, precision, reference.rollout)
        paths[f"reference {precision}"] = _searching(model, precision, "reference", plain)
        if compiled:
            fused = _compiled(_reference(model, precision, torch.compile(reference.rollout, dynamic=False)), plain)
            paths[f"reference-compiled {precision}"] = _searching(model, precision, "reference", fused)
    if _stable_worldmodel.installed():
        theirs = _stable_worldmodel.StableWorldModel(model)
        paths["stable-worldmodel fp32"] = Path("fp32", _stable_worldmodel.version(), theirs.costs, theirs.solve)
    return paths


def judge(costs: Tensor, truth: Tensor, elites: int, precision: str) -> str | None:
    """What is wrong with costs (B, S): further from the true ones than rounding explains, or another choice."""
    costs, truth, limit = costs.double(), truth.double(), ROUNDING[precision]
    error = float((costs - truth).norm() / truth.norm())
    if not error < limit:
        return f"costs differ from the reference's by {error:.2g}"
    chosen = truth.gather(1, costs.topk(elites, largest=False).indices)
    dearest = truth.topk(elites, largest=False).values[:, -1]  # of the true elites
    excess = float((chosen.amax(dim=1) / dearest).max()) - 1
    return f"an elite is dearer than all of the reference's, by {excess:.2g}" if excess > limit else None


def true_costs(model: WorldModel, latents: Tensor, goals: Tensor, candidates: Tensor) -> Tensor:
    """Costs (B, S) of the reference in float64."""
    exact = _reference(model, "fp64", reference.rollout)
    return _distance(exact(latents[:, None], candidates), goals)


def products(
    model: WorldModel, candidates: int, H: int, precision: str, form: Callable[[Tensor], Tensor] = Tensor.contiguous
) -> Callable[[], None]:
    """The matrix products that a rollout of so many candidates needs, of tensors in that form."""
    shapes, device = needed(model.config, H), model.device
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    rows = {(n, K): form(torch.randn(candidates * n, K, dtype=dtype, device=device)) for n, K, _ in shapes}
    weights = {(K, N): form(torch.randn(N, K, dtype=dtype, device=device)) for _, K, N in shapes}

    def call() -> None:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        for n, K, N in shapes:
            F.linear(rows[n, K], weights[K, N])
        torch.set_float32_matmul_precision(before)

    return call


def _reference(model: WorldModel, precision: str, path: Callable[..., Tensor]) -> Rollout:
    dtype = {"fp64": torch.float64, "fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    parameters = {name: tensor.to(dtype) for name, tensor in model.state_dict().items()}
    heads = model.config.predictor.heads
    return lambda latents, candidates: path(parameters, latents.to(dtype), candidates.to(dtype), heads=heads)


def _compiled(fused: Rollout, plain: Rollout) -> Rollout:
    """A search ends with the cost of a single candidate, for which another compilation would take a minute."""
    return lambda latents, candidates: (fused if candidates.shape[1] > 1 else plain)(latents, candidates)


def _searching(model: WorldModel, precision: str, backend: str, roll_out: Rollout) -> Path:
    """Our CEM around a rollout, as many environments at a time as fit."""

    def costs(latents: Tensor, goals: Tensor, candidates: Tensor) -> Tensor:
        B, S, H, _ = candidates.shape
        together = max(1, rows_together(model, H) // S)
        size = max(n for n in range(1, B + 1) if B % n == 0 and n <= together)  # of one shape, compiled once
        parts = [
            _distance(roll_out(latents[some, None], candidates[some]), goals[some])
            for some in (slice(first, first + size) for first in range(0, B, size))
        ]
        return torch.cat(parts).float()

    def solve(latents: Tensor, goals: Tensor, planning: Planning) -> Tensor:
        start = Gaussian.standard(len(latents), planning.horizon, model.config.action_block, model.device)
        keys = Keys(SEED, torch.arange(len(latents), device=model.device), 0)
        return cem(functools.partial(costs, latents, goals), start, planning, keys).actions

    return Path(precision, backend, costs, solve)


def _library(model: WorldModel, packed: Packed) -> Path:
    @functools.cache
    def solver(planning: Planning) -> Solver:
        together = max(1, rows_together(model, planning.horizon) // planning.samples)
        return Solver(packed, planning, SEED, together)

    def solve(latents: Tensor, goals: Tensor, planning: Planning) -> Tensor:
        episodes = torch.arange(len(latents), device=model.device)
        return solver(planning).solve(latents[:, None], goals, episodes, 0).actions

    backend = choose("rollout", model.device).backend
    alone = _searching(model, packed.precision, backend, functools.partial(rollout, packed))
    return Path(packed.precision, backend, alone.costs, solve, graph=model.device.type == "cuda")


def _distance(reached: Tensor, goals: Tensor) -> Tensor:
    return (reached[:, :, -1] - goals[:, None]).square().sum(dim=-1)
