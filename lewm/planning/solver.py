"""The whole search for plans: in groups of environments that fit memory, on CUDA devices as a CUDA graph.

B environments, D latent width.
"""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lewm.config import Planning
from lewm.errors import LewmError
from lewm.model.actions import BlockBounds
from lewm.planning.categorical import OneHot, categorical_cem
from lewm.planning.cem import Gaussian, Keys, Plan, cem
from lewm.planning.cost import last_step
from lewm.planning.groups import even_groups, padded_groups
from lewm.runtime import clock
from lewm_kernels import compiling
from lewm_kernels.rollout import Packed

log = logging.getLogger(__name__)

# Graphs whose capture broke. PyTorch's allocator may go on asking them, so they are never let go.
_broken: list[torch.cuda.CUDAGraph] = []

OnIteration = Callable[[float], None]  # share of the solve that is done
OnCompile = Callable[[int, int], None]  # kernels that are compiled, of how many
Inputs = tuple[Tensor, Tensor, Tensor, Tensor]  # latents, goals, episodes and replan, as of `Solver.solve`


class Solver:
    """CEM towards goals in latent space, for any number of environments, with the same settings each time.

    On a CUDA device a solve is thousands of launches, most of them shorter than the host needs for the next. So it is
    captured in a CUDA graph and replayed. Groups are padded to a few sizes there, and the first solve of each size
    prepares it: it compiles the kernels, runs a short search, and captures a whole one.

    Args:
        packed: The world model's predictor.
        planning: CEM's settings, apart from the precision, which is that of `packed`.
        seed: Of the candidates' noise.
        together: Environments that may be planned together; fewer should that turn out too many for the memory.
        one_hot: What plans consist of where actions are one-hot vectors; None where they are numbers.
        bounds: Of normalised blocks where actions are numbers; None where there are none.
        on_compile: Told after each kernel that was compiled.

    Attributes:
        seconds_preparing: What the preparation of sizes has taken; 0 where there is none.
    """

    def __init__(
        self,
        packed: Packed,
        planning: Planning,
        seed: int,
        together: int,
        one_hot: OneHot | None = None,
        bounds: BlockBounds | None = None,
        on_compile: OnCompile = lambda compiled, total: None,
    ) -> None:
        self.packed, self.planning, self.seed, self.together = packed, planning, seed, together
        self.one_hot, self.bounds, self.on_compile = one_hot, bounds, on_compile
        self.seconds_preparing = 0.0
        on_cuda = packed.device.type == "cuda"
        self._prepares = self._captures = on_cuda
        self._stream = torch.cuda.Stream(packed.device) if on_cuda else None
        self._graphs: dict[int, Graph | None] = {}  # by number of environments; None where it could not be captured
        self._has_shrunk = False

    @torch.inference_mode()
    def solve(
        self,
        latents: Float[Tensor, "B 1 D"],
        goals: Float[Tensor, "B D"],
        episodes: Int64[Tensor, " B"],
        replan: int,
        on_iteration: OnIteration = lambda share: None,
    ) -> Plan:
        """A plan for each environment, which does not depend on the others.

        Args:
            latents: Embeddings of what the environments show now.
            goals: Embeddings of the goals.
            episodes: A number for each environment; with `replan` and the seed it keys the noise.
            replan: How many plans each of these episodes has had.
            on_iteration: Told the share that is done: at every iteration, or on a CUDA device once a group.

        Raises:
            LewmError: the memory is too small for a single environment.
        """
        B, done, parts = len(latents), 0, []
        number = torch.full((), replan, device=latents.device)
        sizes = self._groups(B)
        while sizes:
            size = sizes[0]
            # a padded group repeats the last environment
            some = torch.arange(done, done + size, device=latents.device).clamp(max=B - 1)

            def report(share: float, done: int = done, size: int = size) -> None:
                on_iteration((done + share * size) / B)

            try:
                parts.append(self._solve_group((latents[some], goals[some], episodes[some], number), report))
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
        device, planning = self.packed.device, self.planning
        if environments == 1:
            raise LewmError(
                f"{device}: out of memory planning a single environment with {planning.samples} samples of "
                f"{planning.horizon} blocks",
                "Lower --samples or --horizon, or use another --device.",
            ) from error
        if not self._has_shrunk:
            log.warning("%s: out of memory planning %d environments together; trying fewer", device, environments)
        self._has_shrunk, self.together = True, environments // 2
        self._graphs.clear()

    def _solve_group(self, inputs: Inputs, report: OnIteration) -> Plan:
        if not self._prepares:
            return self._search(self.planning, inputs, report)
        environments = len(inputs[0])
        with torch.cuda.device_of(inputs[0]):
            if environments not in self._graphs:
                self._graphs[environments] = self._prepare(inputs)
            report(0.0)
            graph = self._graphs[environments]
            return graph.replay(inputs) if graph else self._search(self.planning, inputs)

    def _prepare(self, inputs: Inputs) -> Graph | None:
        """Compile the kernels, run a short search, and capture a whole one; None where that cannot be captured.

        The short search has the shapes of the whole one: those of an iteration, and those of the result's cost. It runs
        in the stream of the capture, so that cuBLAS has a handle and a workspace there, and no kernel is loaded in the
        capture.
        """
        begun = clock(self.packed.device)
        short = self.planning.model_copy(update={"iterations": 1})
        try:
            with torch.cuda.stream(self._stream):  # also after a capture that failed, which does not leave its stream
                kernels = compiling.count(lambda: self._search(short, inputs))
                with compiling.watch(lambda compiled: self.on_compile(compiled, kernels)):
                    self._search(short, inputs)
                return self._capture(inputs)
        finally:
            self.seconds_preparing += clock(self.packed.device) - begun

    def _capture(self, inputs: Inputs) -> Graph | None:
        """A graph, in the memory of the other graphs, which never run at the same time; None where that failed."""
        if not self._captures:
            return None
        others = next((graph for graph in self._graphs.values() if graph), None)
        try:
            return Graph(functools.partial(self._search, self.planning), inputs, others)
        except RuntimeError as error:
            faults = error, error.__context__  # the end of a capture fails too, after what made it fail
            for fault in faults:
                if isinstance(fault, torch.OutOfMemoryError):
                    raise fault from None
            reason = error.__context__ or error
            log.warning("planning without a CUDA graph, more slowly: %s", str(reason).partition("\n")[0])
            self._captures = False
            return None

    def _search(self, planning: Planning, inputs: Inputs, report: OnIteration = lambda share: None) -> Plan:
        latents, goals, episodes, replan = inputs
        distance, calls = last_step(self.packed, latents, goals), itertools.count()

        def cost(candidates: Float[Tensor, "B S H A"]) -> Float[Tensor, "B S"]:
            report(next(calls) / (planning.iterations + 1))  # one call for the result
            return distance(candidates)

        keys = Keys(self.seed, episodes, replan)
        if self.one_hot is not None:
            return categorical_cem(cost, self.one_hot, planning, keys)
        action_block, device = self.packed.action_block, latents.device
        start = Gaussian.standard(len(latents), planning.horizon, action_block, device, self.bounds)
        return cem(cost, start, planning, keys)


class Graph:
    """A search, captured in the current stream; its inputs are tensors of its own, into which each replay copies.

    Args:
        search: What to capture. It has run before, in this stream.
        inputs: Of the shapes of all inputs to come.
        others: A graph whose memory this one may use too.
    """

    def __init__(self, search: Callable[[Inputs], Plan], inputs: Inputs, others: Graph | None = None) -> None:
        latents, goals, episodes, replan = inputs
        self._inputs = (latents.clone(), goals.clone(), episodes.clone(), replan.clone())
        self._graph = torch.cuda.CUDAGraph()
        pool, stream = others._graph.pool() if others else None, torch.cuda.current_stream()
        try:
            with torch.cuda.graph(self._graph, pool=pool, stream=stream):
                self._plan = search(self._inputs)
        except BaseException:
            _broken.append(self._graph)
            raise

    def replay(self, inputs: Inputs) -> Plan:
        """The plan for other inputs of the same shapes."""
        for own, new in zip(self._inputs, inputs, strict=True):
            own.copy_(new)
        self._graph.replay()
        return Plan(self._plan.actions.clone(), self._plan.cost.clone(), self._plan.history.clone())
