"""The ways to plan that bench_planning.py compares.

B environments, S candidates, E elites, H horizon in blocks, A action-block width, D latent width.
"""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import _stable_worldmodel
import torch
import torch.nn.functional as F
from _counts import needed
from torch import Tensor

from lewm.config import Cem, Planning
from lewm.model.world_model import WorldModel
from lewm.planning.dynamics import PackedDynamics
from lewm.planning.plan import Context, Keys, Start
from lewm.planning.planners.cem import cem
from lewm.planning.solver import Problem, Solver
from lewm_kernels.dispatch import choose
from lewm_kernels.rollout import Packed, reference, rollout, tiles
from lewm_kernels.rollout.torch import products_in

SEED = 0
FAMILIES = ("reference", "reference-compiled", "stable-worldmodel", "torch", "triton", "lewm")
PRECISIONS = ("fp32", "tf32", "bf16")
REFUSED = "ValueError: rollout: the design"  # the beginning of the reason where a design does not support a model
GRAPH = "-graph"  # the end of a path's title under a CUDA graph

Rollout = Callable[[Tensor, Tensor], Tensor]  # latents (B, 1, D), candidates (B, S, H, A) -> (B, S, H, D)
Costs = Callable[[Tensor, Tensor, Tensor], Tensor]  # latents (B, D), goals (B, D), candidates -> (B, S)
Solve = Callable[[Tensor, Tensor, Planning], Tensor]  # latents (B, D), goals (B, D) -> normalised blocks (B, H, A)


@dataclass(frozen=True)
class Path:
    """One way to plan.

    Attributes:
        precision: The rounding of the matrix products.
        backend: The implementation of the rollout: a backend of the operator, "reference", or another package.
        costs: Computes the costs of candidates.
        solve: Does the whole search, from latents.
        graph: Whether it runs as a CUDA graph.
        captures: Whether `solve` makes that graph itself.
        together: The most environments that `solve` plans together, once it has run with these settings; None where it
            takes all of them.
    """

    precision: str
    backend: str
    costs: Costs
    solve: Solve
    graph: bool = False
    captures: bool = False
    together: Callable[[Planning], int] | None = None


def all_paths(
    model: WorldModel, families: Iterable[str], precisions: Iterable[str], device_type: str
) -> dict[str, Path]:
    """The paths of some families that run on such a device, baselines first.

    On a CPU everything is float32, and "lewm" is what a user of the library gets. On a CUDA device there are Triton's
    designs beside it, and whatever can be captured runs both as it is and under a CUDA graph.
    """
    on_cuda = device_type == "cuda"
    precisions = list(precisions) if on_cuda else ["fp32"]
    paths: dict[str, Path] = {}
    for precision in precisions:
        paths |= _with_graphs(baselines(model, families, precision), on_cuda)
    has_no_skip = not model.predictor.residual  # as every model of stable-worldmodel
    if "stable-worldmodel" in families and has_no_skip and _stable_worldmodel.installed():
        theirs = _stable_worldmodel.StableWorldModel(model)
        paths["stable-worldmodel fp32"] = Path("fp32", _stable_worldmodel.version(), theirs.costs, theirs.solve)
    for precision in precisions:
        dynamics = PackedDynamics(model, precision)
        if on_cuda:
            paths |= _with_graphs(_operators(model, dynamics.packed, families), on_cuda)
        if "lewm" in families:
            paths[f"lewm {precision}"] = _library(model, dynamics, on_cuda)
    return paths


def baselines(model: WorldModel, families: Iterable[str], precision: str) -> dict[str, Path]:
    """The released arithmetic in our search."""
    paths = {}
    plain = _reference(model, precision, reference.rollout)
    if "reference" in families:
        paths[f"reference {precision}"] = _searching(model, precision, "reference", plain)
    if "reference-compiled" in families:
        fused = _compiled(_reference(model, precision, torch.compile(reference.rollout, dynamic=False)), plain)
        paths[f"reference-compiled {precision}"] = _searching(model, precision, "reference", fused)
    return paths


def settings_of(planning: Planning) -> Cem:
    """The planner's settings: every path here is the cross-entropy method."""
    planner = planning.planner
    assert isinstance(planner, Cem)
    return planner


def with_iterations(planning: Planning, iterations: int) -> Planning:
    """The same settings with another number of iterations."""
    planner = planning.planner.model_copy(update={"iterations": iterations})
    return planning.model_copy(update={"planner": planner})


def family(title: str) -> str:
    """The title without its form: the same for a path with and without a graph."""
    return title.removesuffix(GRAPH)


def true_costs(model: WorldModel, latents: Tensor, goals: Tensor, candidates: Tensor) -> Tensor:
    """Costs (B, S) of the reference in float64, an environment at a time."""
    exact = _reference(model, "fp64", reference.rollout)
    parts = zip(latents.split(1), goals.split(1), candidates.split(1), strict=True)
    return torch.cat([_distance(exact(latent[:, None], some), goal) for latent, goal, some in parts])


def products(
    model: WorldModel, candidates: int, H: int, precision: str, form: Callable[[Tensor], Tensor] = Tensor.contiguous
) -> Callable[[], None]:
    """The matrix products that a rollout of these candidates needs, of tensors in that form."""
    shapes, device = needed(model.config, H), model.device
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    rows = {(n, K): form(torch.randn(candidates * n, K, dtype=dtype, device=device)) for n, K, _ in shapes}
    weights = {(K, N): form(torch.randn(N, K, dtype=dtype, device=device)) for _, K, N in shapes}

    def call() -> None:
        with products_in(precision):
            for n, K, N in shapes:
                F.linear(rows[n, K], weights[K, N])

    return call


def _operators(model: WorldModel, packed: Packed, families: Iterable[str]) -> dict[str, Path]:
    """The rollout's PyTorch path, and every design of its Triton kernels."""
    calls: dict[str, Rollout] = {}
    if "torch" in families:
        calls["torch"] = functools.partial(rollout, packed, backend="torch")
    if "triton" in families:
        for design in tiles.DESIGNS:
            calls[f"triton-{design}"] = functools.partial(rollout, packed, backend="triton", design=design)
    precision = packed.precision
    return {
        f"{title} {precision}": _searching(model, precision, title.partition("-")[0], call)
        for title, call in calls.items()
    }


def _with_graphs(paths: dict[str, Path], on_cuda: bool) -> dict[str, Path]:
    """The same paths, and on a CUDA device each of them under a graph."""
    graphed = {}
    for name, path in paths.items() if on_cuda else ():
        title, precision = name.split()
        graphed[f"{title}{GRAPH} {precision}"] = replace(path, graph=True)
    return paths | graphed


def _reference(model: WorldModel, precision: str, path: Callable[..., Tensor]) -> Rollout:
    dtype = {"fp64": torch.float64, "bf16": torch.bfloat16}.get(precision, torch.float32)
    parameters = {name: tensor.to(dtype) for name, tensor in model.state_dict().items()}
    heads, residual = model.config.predictor.heads, model.predictor.residual

    def roll_out(latents: Tensor, candidates: Tensor) -> Tensor:
        with products_in(precision):
            return path(parameters, latents.to(dtype), candidates.to(dtype), heads=heads, residual=residual)

    return roll_out


def _compiled(fused: Rollout, plain: Rollout) -> Rollout:
    """A search ends with the cost of a single candidate, for which another compilation would take a minute."""
    return lambda latents, candidates: (fused if candidates.shape[1] > 1 else plain)(latents, candidates)


def _searching(model: WorldModel, precision: str, backend: str, roll_out: Rollout) -> Path:
    """Our CEM around a rollout, as many environments at a time as fit."""
    dynamics = PackedDynamics(model)

    def costs(latents: Tensor, goals: Tensor, candidates: Tensor) -> Tensor:
        B, S, H, _ = candidates.shape
        together = max(1, dynamics.rows(H) // S)
        size = max(n for n in range(1, B + 1) if B % n == 0 and n <= together)  # chunks of one shape, compiled once
        parts = [
            _distance(roll_out(latents[some, None], candidates[some]), goals[some])
            for some in (slice(first, first + size) for first in range(0, B, size))
        ]
        return torch.cat(parts).float()

    def solve(latents: Tensor, goals: Tensor, planning: Planning) -> Tensor:
        start = Start.standard(len(latents), planning.horizon, model.config.action_block, model.device)
        keys = Keys(SEED, torch.arange(len(latents), device=model.device), 0)
        return cem(functools.partial(costs, latents, goals), start, settings_of(planning), keys).actions

    return Path(precision, backend, costs, solve)


def _library(model: WorldModel, dynamics: PackedDynamics, on_cuda: bool) -> Path:
    packed = dynamics.packed

    @functools.lru_cache(maxsize=1)  # the graphs of another would keep their memory
    def solver(planning: Planning) -> Solver:
        return Solver(dynamics, planning, SEED)

    def solve(latents: Tensor, goals: Tensor, planning: Planning) -> Tensor:
        episodes, first = torch.arange(len(latents), device=model.device), torch.zeros((), dtype=torch.int64)
        problem = Problem(Context(latents[:, None]), goals, episodes, first.to(model.device))
        return solver(planning).solve(problem).actions

    backend = choose("rollout", model.device).backend
    alone = _searching(model, packed.precision, backend, functools.partial(rollout, packed))
    return Path(
        packed.precision,
        backend,
        alone.costs,
        solve,
        graph=on_cuda,
        captures=on_cuda,
        together=lambda planning: solver(planning).together,
    )


def _distance(reached: Tensor, goals: Tensor) -> Tensor:
    return (reached[:, :, -1] - goals[:, None]).square().sum(dim=-1)
