"""Plan, execute, look, and plan again.

B environments, N of which are asked for, K = frameskip steps of a block, D latent width, A action-block width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from lewm.planning.controller import Controller
from lewm.planning.plan import Context
from lewm.planning.solver import OnIteration


@dataclass(frozen=True, eq=False)
class Decision:
    """A plan that has just been made.

    Attributes:
        context: What it begins from.
        execute: Normalised blocks that are to be executed before the next plan.
    """

    context: Context
    execute: Float[Tensor, "N E A"]


class Replanner:
    """Acts block by block in environments whose episodes begin together; holds what each of them has shown.

    Args:
        controller: Makes the plans.
        goals: Embeddings of the goals, from `Controller.embed`.
        episodes: A number for each environment; it keys the noise.
    """

    def __init__(self, controller: Controller, goals: Float[Tensor, "B D"], episodes: Int64[np.ndarray, " B"]) -> None:
        self.controller, self.goals, self.episodes = controller, goals, episodes
        self.replan = 0  # number of the next plan
        self.decision: Decision | None = None  # the plan that the last call of `act` made; None where it made none
        self._plan: Tensor | None = None  # (B, H, A): the plan in force
        self._done, self._execute = 0, 0  # blocks of the plan that are executed, and that are to be executed
        self._latents: list[Tensor] = []  # (B, D) each: what was seen a block apart, the present last
        self._blocks: list[Tensor] = []  # (B, A) each: the blocks executed between them

    @property
    def plans_next(self) -> bool:
        """Whether the next call of `act` makes a plan."""
        return self._done == self._execute

    @property
    def looks_next(self) -> bool:
        """Whether the next call of `act` wants to see the environments, for the context of the plan to come."""
        return self._execute - self._done < self.controller.planning.context

    @torch.inference_mode()
    def act(
        self,
        latents: Float[Tensor, "N D"] | None,
        active: Int64[np.ndarray, " N"],
        on_iteration: OnIteration = lambda share: None,
    ) -> Float32[np.ndarray, "N K action_dim"]:
        """Actions of the next block, for some of the environments; they have to be executed.

        Args:
            latents: Embeddings of what these environments show now; None where `looks_next` is false.
            active: The numbers of these environments; one that is left out once is not asked for again.
            on_iteration: Called with the share of a plan that is done.
        """
        some = torch.from_numpy(active).to(self.goals.device)
        self.decision = None
        if latents is not None:
            self._look(latents, some)
        if self.plans_next:
            self._decide(active, some, on_iteration)
        assert self._plan is not None
        actions = self.controller.actions(self._plan[some, self._done, None])
        if self.controller.planning.context > 1:
            self._blocks.append(self._spread(self.controller.blocks(actions)[:, 0], some))
        self._done += 1
        return actions

    def _decide(self, active: Int64[np.ndarray, " N"], some: Tensor, on_iteration: OnIteration) -> None:
        controller, left = self.controller, None
        between = [blocks[some] for blocks in self._blocks]
        context = Context(
            torch.stack([latents[some] for latents in self._latents], dim=1),
            torch.stack(between, dim=1) if between else None,
        )
        warm = controller.planning.warm_start == "on"
        if warm and self._plan is not None and self._done < self._plan.shape[1]:
            left = self._plan[some, self._done :]
        plan = controller.plan(context, self.goals[some], self.episodes[active], self.replan, left, on_iteration)
        self._plan = self._spread(plan.actions, some)
        self._done, self._execute = 0, controller.schedule.stage(self.replan)[1]
        self.decision = Decision(context, plan.actions[:, : self._execute])
        self.replan += 1

    def _look(self, latents: Float[Tensor, "N D"], some: Tensor) -> None:
        """Keep the latents, and as many earlier ones as a context has."""
        context = self.controller.planning.context
        self._latents = [*self._latents, self._spread(latents, some)][-context:]
        self._blocks = self._blocks[len(self._blocks) + 1 - len(self._latents) :]

    def _spread(self, rows: Tensor, some: Tensor) -> Tensor:
        """A row for each environment; it is 0 for those that are not asked for."""
        spread = rows.new_zeros(len(self.goals), *rows.shape[1:])
        spread[some] = rows
        return spread
