"""The whole search for plans: in groups of environments that fit memory, on CUDA devices as a CUDA graph.

B environments, D latent width.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lewm.config import Planning
from lewm.errors import LewmError
from lewm.planning.categorical import OneHot, categorical_cem
from lewm.planning.cem import Gaussian, Keys, Plan, cem
from lewm.planning.cost import last_step
from lewm_kernels.rollout import Packed

log = logging.getLogger(__name__)

GRAPHS = 8  # kept at a time; each is of one number of environments, which shrinks as episodes are solved

OnIteration = Callable[[float], None]  # share of the solve that is done
Inputs = tuple[Tensor, Tensor, Tensor, Tensor]  # latents, goals, episodes and replan, as of `Solver.solve`


class Solver:
    """CEM towards goals in latent space, for any number of environments, with the same settings each time.

    On a CUDA device a solve is thousands of launches, most of them shorter than the host needs for the next. So it is
    captured in a CUDA graph and replayed: for each number of environments the first solve runs as it is, which also
    compiles the kernels, and the second is captured.

    Args:
        packed: The world model's predictor.
        planning: CEM's settings.
        seed: Of the candidates' noise.
        together: Environments that may be planned together; fewer should that turn out too many for the memory.
        one_hot: What plans consist of where actions are one-hot vectors; None where they are numbers.
    """

    def __init__(
        self, packed: Packed, planning: Planning, seed: int, together: int, one_hot: OneHot | None = None
    ) -> None:
        self.packed, self.planning, self.seed, self.together = packed, planning, seed, together
        self.one_hot = one_hot
        self._captures = packed.device.type == "cuda"
        self._known: set[int] = set()  # numbers of environments that were solved
        self._graphs: dict[int, Graph] = {}  # by number of environments; the last is the one last used
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
        while done < B:
            groups = math.ceil((B - done) / self.together)
            size = math.ceil((B - done) / groups)  # all of one size, where that can be: they share a graph
            some = slice(done, done + size)

            def report(share: float, done: int = done, size: int = size) -> None:
                on_iteration((done + share * size) / B)

            try:
                parts.append(self._solve_group((latents[some], goals[some], episodes[some], number), report))
                done += size
            except torch.OutOfMemoryError as error:
                self._shrink(size, error)
        actions, cost, history = zip(*((part.actions, part.cost, part.history) for part in parts), strict=True)
        return Plan(torch.cat(actions), torch.cat(cost), torch.cat(history))

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
        if not self._captures:
            return self._search(inputs, report)
        report(0.0)
        environments = len(inputs[0])
        with torch.cuda.device_of(inputs[0]):
            if environments not in self._known:
                self._known.add(environments)
                return self._search(inputs)
            graph = self._graphs.pop(environments, None) or self._capture(inputs)
            if graph is None:
                return self._search(inputs)
            self._graphs[environments] = graph
            if len(self._graphs) > GRAPHS:
                del self._graphs[next(iter(self._graphs))]
            return graph.replay(inputs)

    def _capture(self, inputs: Inputs) -> Graph | None:
        """A graph, in the memory of the other graphs, which never run at the same time; None where that failed."""
        others = next(iter(self._graphs.values()), None)
        try:
            return Graph(self._search, inputs, others)
        except RuntimeError as error:
            reason = error.__context__ or error  # the end of a capture fails too, after what made it fail
            if isinstance(reason, torch.OutOfMemoryError):
                raise reason from None
            log.warning("planning without a CUDA graph, more slowly: %s", str(reason).partition("\n")[0])
            self._captures = False
            return None

    def _search(self, inputs: Inputs, report: OnIteration = lambda share: None) -> Plan:
        latents, goals, episodes, replan = inputs
        distance, calls = last_step(self.packed, latents, goals), itertools.count()

        def cost(candidates: Float[Tensor, "B S H A"]) -> Float[Tensor, "B S"]:
            report(next(calls) / (self.planning.iterations + 1))  # one call for the result
            return distance(candidates)

        keys = Keys(self.seed, episodes, replan)
        if self.one_hot is not None:
            return categorical_cem(cost, self.one_hot, self.planning, keys)
        start = Gaussian.standard(len(latents), self.planning.horizon, self.packed.action_block, latents.device)
        return cem(cost, start, self.planning, keys)


class Graph:
    """A search, captured; its inputs are tensors of its own, into which each replay copies.

    Args:
        search: What to capture.
        inputs: Of the shapes of all inputs to come.
        others: A graph whose memory this one may use too.
    """

    def __init__(self, search: Callable[[Inputs], Plan], inputs: Inputs, others: Graph | None = None) -> None:
        latents, goals, episodes, replan = inputs
        self._inputs = (latents.clone(), goals.clone(), episodes.clone(), replan.clone())
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=others._graph.pool() if others else None):
            self._plan = search(self._inputs)

    def replay(self, inputs: Inputs) -> Plan:
        """The plan for other inputs of the same shapes."""
        for own, new in zip(self._inputs, inputs, strict=True):
            own.copy_(new)
        self._graph.replay()
        return Plan(self._plan.actions.clone(), self._plan.cost.clone(), self._plan.history.clone())
