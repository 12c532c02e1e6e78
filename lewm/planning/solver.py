"""The whole search for plans: in groups of environments that fit memory, on CUDA devices as a CUDA graph.

B environments, L context length, P = L - 1 past blocks, D latent width, h blocks left of a plan, A action-block width.
"""

from __future__ import annotations

import functools
import itertools
import logging
import operator
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lewm.config import Planner, Planning, line_of
from lewm.errors import LewmError
from lewm.model.actions import BlockBounds
from lewm.planning.costs import COSTS, MakeCost
from lewm.planning.dynamics import Dynamics
from lewm.planning.groups import even_groups, padded_groups
from lewm.planning.one_hot import OneHot
from lewm.planning.plan import Context, Keys, Plan, Start
from lewm.planning.planners import PLANNERS
from lewm.runtime import clock
from lewm_kernels import compiling

log = logging.getLogger(__name__)

# Graphs whose capture failed. PyTorch's allocator may still ask them, so they are kept for ever.
_broken: list[torch.cuda.CUDAGraph] = []

OnIteration = Callable[[float], None]  # share of the solve that is done
OnCompile = Callable[[int, int], None]  # how many kernels are compiled, and how many there are


@dataclass(frozen=True, eq=False)
class Problem:
    """What to plan: each environment gets one plan.

    Attributes:
        context: What the environments have shown.
        goals: Embeddings of the goals.
        episodes: A number for each environment; with `replan` and the seed it keys the noise.
        replan: How many plans each of these episodes has had.
        left: Normalised blocks that are left of the plan before, for a warm start.
    """

    context: Context
    goals: Float[Tensor, "B D"]
    episodes: Int64[Tensor, " B"]
    replan: Int64[Tensor, ""]
    left: Float[Tensor, "B h A"] | None = None

    def __len__(self) -> int:
        return len(self.goals)

    @property
    def tensors(self) -> list[Tensor]:
        """All its tensors, in a fixed order."""
        parts = (self.context.latents, self.context.actions, self.goals, self.episodes, self.replan, self.left)
        return [part for part in parts if part is not None]

    @property
    def shapes(self) -> tuple[torch.Size, ...]:
        """The shapes of its tensors; one CUDA graph can serve only problems with equal shapes."""
        return tuple(tensor.shape for tensor in self.tensors)

    def map(self, change: Callable[[Tensor], Tensor]) -> Problem:
        """A problem with `change` applied to every tensor that has a row for each environment; `replan` is copied."""
        actions, left = self.context.actions, self.left
        return Problem(
            Context(change(self.context.latents), None if actions is None else change(actions)),
            change(self.goals),
            change(self.episodes),
            self.replan.clone(),
            None if left is None else change(left),
        )


class Solver:
    """A search towards goals in latent space, for any number of environments, with the same settings each time.

    On a CUDA device a solve is thousands of launches, most of them shorter than the host needs for the next. So it is
    captured in a CUDA graph and replayed. Groups are padded to a few sizes there, and the first solve of each size
    prepares it: it compiles the kernels, runs a short search, and captures a whole one.

    Args:
        dynamics: Predict what plans lead to. Where the planner asks for gradients, they have to give them.
        planning: How to plan. Its precision is not used here: the dynamics have one.
        seed: Seed of the candidates' noise.
        together: Environments that may be planned together; when None, as many as the dynamics have rows for. If these
            turn out to be too many for the memory, fewer are planned together.
        frameskip: Environment steps a block.
        one_hot: The choices that plans consist of, where actions are one-hot vectors; None where actions are numbers.
        bounds: Bounds of normalised blocks where actions are numbers; None where there are none.
        make_cost: Makes the cost of plans; None for the cost of the settings.
        on_compile: Called after each kernel that was compiled, with the number of compiled kernels and of all kernels.

    Attributes:
        seconds_preparing: Seconds that the preparation of sizes has taken; 0 where there is none.
    """

    def __init__(
        self,
        dynamics: Dynamics,
        planning: Planning,
        seed: int,
        together: int | None = None,
        frameskip: int = 1,
        one_hot: OneHot | None = None,
        bounds: BlockBounds | None = None,
        make_cost: MakeCost | None = None,
        on_compile: OnCompile = lambda compiled, total: None,
    ) -> None:
        self.dynamics, self.planning, self.seed, self.frameskip = dynamics, planning, seed, frameskip
        self.together = together or max(1, dynamics.rows(planning.horizon) // planning.planner.samples)
        self.one_hot, self.bounds, self.on_compile = one_hot, bounds, on_compile
        self.seconds_preparing = 0.0
        self._search = line_of(PLANNERS, "PLANNERS", planning.planner)
        self._make_cost = make_cost or line_of(COSTS, "COSTS", planning.cost)(planning.cost, dynamics.device)
        self._prepares = dynamics.device.type == "cuda"
        self._captures = not self._search.differentiates
        self._stream = torch.cuda.Stream(dynamics.device) if self._prepares else None
        # The graphs by horizon and shapes; None where one could not be captured.
        self._graphs: dict[tuple[int, tuple[torch.Size, ...]], Graph | None] = {}
        self._has_shrunk = False

    @torch.inference_mode()
    def solve(
        self,
        problem: Problem,
        horizon: int | None = None,
        on_iteration: OnIteration = lambda share: None,
    ) -> Plan:
        """A plan for each environment, which does not depend on the others.

        Args:
            problem: What to plan.
            horizon: Blocks of the plans; the horizon of the settings when None.
            on_iteration: Called with the share that is done: at every iteration, or on a CUDA device after every group.

        Raises:
            LewmError: the memory is too small for a single environment.
        """
        B, done, parts = len(problem), 0, []
        horizon = horizon or self.planning.horizon
        sizes = self._groups(B)
        while sizes:
            size = sizes[0]
            # A padded group repeats the last environment.
            some = torch.arange(done, done + size, device=problem.goals.device).clamp(max=B - 1)

            def report(share: float, done: int = done, size: int = size) -> None:
                on_iteration((done + share * size) / B)

            try:
                parts.append(self._solve_group(problem.map(operator.itemgetter(some)), horizon, report))
            except torch.OutOfMemoryError as error:
                self._shrink(size, error)
                sizes = self._groups(B - done)
            else:
                done, sizes = done + size, sizes[1:]
        actions, cost, history = zip(*((part.actions, part.cost, part.history) for part in parts), strict=True)
        return Plan(torch.cat(actions)[:B], torch.cat(cost)[:B], torch.cat(history)[:B])

    def _groups(self, environments: int) -> list[int]:
        return (padded_groups if self._prepares else even_groups)(environments, self.together)

    def _shrink(self, environments: int, error: torch.OutOfMemoryError) -> None:
        """Make groups half as large as the one that did not fit."""
        device, planning = self.dynamics.device, self.planning
        if environments == 1:
            raise LewmError(
                f"{device}: out of memory planning a single environment with {planning.planner.samples} samples of "
                f"{planning.horizon} blocks",
                "Lower --samples or --horizon, or use another --device.",
            ) from error
        if not self._has_shrunk:
            log.warning("%s: out of memory planning %d environments together; trying fewer", device, environments)
        self._has_shrunk, self.together = True, environments // 2
        self._graphs.clear()

    def _solve_group(self, problem: Problem, horizon: int, report: OnIteration) -> Plan:
        planner = self.planning.planner
        if not self._prepares:
            return self._plan(planner, problem, horizon, report)
        key = horizon, problem.shapes
        with torch.cuda.device_of(problem.goals):
            if key not in self._graphs:
                self._graphs[key] = self._prepare(problem, horizon)
            report(0.0)
            graph = self._graphs[key]
            return graph.replay(problem) if graph else self._plan(planner, problem, horizon)

    def _prepare(self, problem: Problem, horizon: int) -> Graph | None:
        """Compile the kernels, run a short search, and capture a whole one; None where that cannot be captured.

        The short search has all shapes of the whole one: the shapes of its iterations and of the result's cost. It runs
        in the stream of the capture, so that cuBLAS has a handle and a workspace there, and no kernel is loaded in the
        capture.
        """
        begun = clock(self.dynamics.device)
        short = self.planning.planner.shortest
        try:
            with torch.cuda.stream(self._stream):  # a capture that failed does not leave its stream; this block does
                kernels = compiling.count(lambda: self._plan(short, problem, horizon))
                with compiling.watch(lambda compiled: self.on_compile(compiled, kernels)):
                    self._plan(short, problem, horizon)
                return self._capture(problem, horizon)
        finally:
            self.seconds_preparing += clock(self.dynamics.device) - begun

    def _capture(self, problem: Problem, horizon: int) -> Graph | None:
        """A graph in the memory of the other graphs, which never run at the same time; None where capture failed."""
        if not self._captures:
            return None
        others = next((graph for graph in self._graphs.values() if graph), None)
        try:
            search = functools.partial(self._plan, self.planning.planner, horizon=horizon)
            return Graph(search, problem, others)
        except RuntimeError as error:
            faults = error, error.__context__  # after a failure in a capture, ending the capture fails too
            for fault in faults:
                if isinstance(fault, torch.OutOfMemoryError):
                    raise fault from None
            reason = error.__context__ or error
            log.warning("planning without a CUDA graph, more slowly: %s", str(reason).partition("\n")[0])
            self._captures = False
            return None

    def _plan(self, planner: Planner, problem: Problem, horizon: int, report: OnIteration = lambda share: None) -> Plan:
        with torch.inference_mode(not self._search.differentiates):
            if self._search.differentiates:  # autograd keeps no tensor that was made in inference mode
                problem = problem.map(torch.clone)
            distance, calls = self._make_cost(self.dynamics, problem.context, problem.goals), itertools.count()

            def cost(candidates: Float[Tensor, "B S H A"]) -> Float[Tensor, "B S"]:
                report(next(calls) / (planner.iterations + 1))  # one call for the result
                return distance(candidates)

            start = self._start(len(problem), horizon)
            if problem.left is not None:
                start = start.after(problem.left)
            search = self._search.numbers if self.one_hot is None else self._search.choices
            assert search is not None
            plan = search(cost, start, planner, Keys(self.seed, problem.episodes, problem.replan))
            if plan.actions.shape != start.mean.shape:
                raise LewmError(
                    f'the planner "{planner.kind}" made plans of shape {tuple(plan.actions.shape)}, expected '
                    f"{tuple(start.mean.shape)}: environments, blocks, numbers of a block",
                    "Correct the planner, or use another --planner.",
                )
            return plan

    def _start(self, environments: int, horizon: int) -> Start:
        block, device = self.dynamics.action_block, self.dynamics.device
        return Start.standard(environments, horizon, block, device, self.bounds, self.frameskip, self.one_hot)


class Graph:
    """A search, captured in the current stream; its problem has tensors of its own, into which each replay copies.

    Args:
        search: What to capture. It has run before, in this stream.
        problem: A problem with the shapes of all problems to come.
        others: A graph whose memory this one may use too.
    """

    def __init__(self, search: Callable[[Problem], Plan], problem: Problem, others: Graph | None = None) -> None:
        self._problem = problem.map(torch.clone)
        self._graph = torch.cuda.CUDAGraph()
        pool, stream = others._graph.pool() if others else None, torch.cuda.current_stream()
        try:
            with torch.cuda.graph(self._graph, pool=pool, stream=stream):
                self._plan = search(self._problem)
        except BaseException:
            _broken.append(self._graph)
            raise

    def replay(self, problem: Problem) -> Plan:
        """The plan for another problem of the same shapes."""
        for own, new in zip(self._problem.tensors, problem.tensors, strict=True):
            own.copy_(new)
        self._graph.replay()
        return Plan(self._plan.actions.clone(), self._plan.cost.clone(), self._plan.history.clone())
