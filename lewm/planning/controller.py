"""The controller: turns frames and goals into actions in environment units.

B environments, H horizon in blocks, h blocks left of a plan, K blocks, D latent width, A action-block width.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor

from lewm.config import Planning, line_of
from lewm.errors import LewmError
from lewm.memory import check_planning
from lewm.model.actions import BlockBounds
from lewm.model.world_model import WorldModel
from lewm.planning.costs import MakeCost
from lewm.planning.dynamics import DifferentiableDynamics, Dynamics, dynamics_of
from lewm.planning.one_hot import OneHot
from lewm.planning.plan import Context, Plan
from lewm.planning.planners import PLANNERS
from lewm.planning.policy import Policy, check_policy
from lewm.planning.precision import Precision, choose_precision
from lewm.planning.schedule import Schedule
from lewm.planning.solver import OnCompile, OnIteration, Problem, Solver


@dataclass(frozen=True)
class Controller:
    """Plans with a world model.

    The predictor is packed for the first plan: a model that is trained further needs another controller.

    Attributes:
        model: The world model, in eval mode, on the device to plan on.
        planning: How to plan.
        seed: Seed of the candidates' noise.
        action_groups: Sizes of the one-hot vectors that an action consists of, where actions are choices; None where
            actions are numbers.
        on_compile: Called after each kernel that was compiled, with the number of compiled kernels and of all kernels
            to compile. Kernels are compiled on CUDA devices, when the first plans are made for some number of
            environments.
        policy: The learnt policy, where the settings ask for it.

    Raises:
        LewmError: the model's device does not have the precision, or too little memory for the candidates of one plan;
            the model's actions are not as wide as the groups; actions are choices, which the planner cannot search;
            the context is longer than what the predictor sees; or the settings ask for a policy, and it is missing, is
            of another kind or for another model, or actions are choices.
    """

    model: WorldModel
    planning: Planning
    seed: int
    action_groups: tuple[int, ...] | None = None
    on_compile: OnCompile = lambda compiled, total: None
    policy: Policy | None = None

    def __post_init__(self) -> None:
        search = line_of(PLANNERS, "PLANNERS", self.planning.planner)
        choose_precision(self.planning.precision, self.model.device, self._unpacked)
        if self.searches:
            check_planning(self.planning, self.model.config.action_block, self.model.device)
        width = self.model.config.action_dim
        if self.action_groups is not None and sum(self.action_groups) != width:
            raise LewmError(
                f"one-hot actions of {sum(self.action_groups)} numbers {self.action_groups}, the model's have {width}",
                "Use a run of that world.",
            )
        kind = self.planning.planner.kind
        if self.action_groups is not None and search.choices is None:
            able = [name for name, other in PLANNERS.items() if other.choices is not None]
            raise LewmError(
                f'the planner "{kind}" searches actions that are numbers, and those of this world are choices',
                f"Use --planner {' or '.join(able)}.",
            )
        if self.planning.context > self.model.history:
            raise LewmError(
                f"a context of {self.planning.context} latents, and the predictor sees at most {self.model.history}",
                f"Use --context {self.model.history}{' or fewer' if self.model.history > 1 else ''}.",
            )
        if self.planning.policy is not None:
            check_policy(self.planning.policy, self.policy, self.model, self.action_groups)

    @property
    def searches(self) -> bool:
        """Whether a search decides; else a policy does, or an agent that does not plan."""
        return self.planning.agent == "planner"

    @property
    def schedule(self) -> Schedule:
        """How many blocks each plan of an episode has, and how many of these are executed."""
        return Schedule.of(self.planning)

    @property
    def precision(self) -> Precision:
        """How the predictor's matrix products are rounded in plans."""
        return choose_precision(self.planning.precision, self.model.device, self._unpacked)

    @torch.inference_mode()
    def embed(self, frames: UInt8[np.ndarray, "B Y X 3"]) -> Float[Tensor, "B D"]:
        """Embeddings of single frames."""
        return self.model.embed(torch.from_numpy(frames))

    @torch.inference_mode()
    def plan(
        self,
        context: Context,
        goals: Float[Tensor, "B D"],
        episodes: Int64[np.ndarray, " B"],
        replan: int,
        left: Float[Tensor, "B h A"] | None = None,
        on_iteration: OnIteration = lambda share: None,
    ) -> Plan:
        """A plan for each environment, of as many blocks as the schedule has for plan number `replan`.

        Where the agent is a policy, a plan has only the blocks that are executed, and its cost is NaN.

        Args:
            context: What each environment has shown: `planning.context` latents, or fewer at the start of an episode.
            goals: Embeddings of the goals, from `embed`.
            episodes: A number for each environment; with `replan` and the seed it keys the noise.
            replan: How many plans each of these episodes has had.
            left: Normalised blocks that are left of the plan before, for a warm start.
            on_iteration: Called with the share of the solve that is done.

        Raises:
            LewmError: the memory is too small for a single environment, or the checkpoint has no action statistics.
        """
        device = self.model.device
        horizon, execute = self.schedule.stage(replan)
        if not self.searches:
            chosen = self._follow(context, goals, horizon, execute)
            on_iteration(1.0)
            return Plan(chosen, goals.new_full((len(goals),), torch.nan), goals.new_zeros(len(goals), 0))
        if self.planning.warm_start == "idm":
            left = self._follow(context, goals, horizon, horizon)
        number = torch.full((), replan, device=device)
        problem = Problem(context, goals, torch.from_numpy(episodes).to(device), number, left)
        return self.solver.solve(problem, horizon, on_iteration)

    @torch.inference_mode()
    def actions(self, blocks: Float[Tensor, "B K A"]) -> Float32[np.ndarray, "B steps action_dim"]:
        """Normalised blocks as actions for K × frameskip environment steps, in environment units.

        With `planning.bounds` they lie within the model's action bounds. A dimension that is held at one value has it
        without bounds too. Actions that are choices consist of 0 and 1.
        """
        if self.one_hot is not None:
            blocks = self.one_hot.chosen(blocks).float()
        else:
            blocks = self.model.denormalize_actions(blocks)
            if self.bounds is not None:
                blocks = self.bounds.clamp(blocks)  # z-scores within the bounds may be rounded to outside
        return blocks.reshape(len(blocks), -1, self.model.config.action_dim).float().cpu().numpy()

    @torch.inference_mode()
    def blocks(self, actions: Float32[np.ndarray, "B steps action_dim"]) -> Float[Tensor, "B K A"]:
        """The inverse of `actions`, for actions that were executed: the world clips them to its bounds."""
        model = self.model
        blocks = torch.from_numpy(actions).to(model.device).reshape(len(actions), -1, model.config.action_block)
        if self.one_hot is None and self._every_bound is not None:
            blocks = self._every_bound.clamp(blocks)
        return model.normalize_actions(blocks)

    @torch.inference_mode()
    def imagine(self, context: Context, blocks: Float[Tensor, "B K A"]) -> Float[Tensor, "B K D"]:
        """Latents that the model expects after each of the normalised blocks."""
        return self.dynamics(context.latents, blocks[:, None], context.actions)[:, 0]

    @cached_property
    def bounds(self) -> BlockBounds | None:
        """The bounds of plans, in environment units; None where there are none, or where actions are choices."""
        return None if self.action_groups is not None else self.model.block_bounds(self.planning.bounds == "on")

    @cached_property
    def one_hot(self) -> OneHot | None:
        """The choices that plans consist of, where actions are choices; None where actions are numbers.

        Raises:
            LewmError: the checkpoint has no action statistics.
        """
        return None if self.action_groups is None else OneHot.of(self.model, self.action_groups)

    @cached_property
    def dynamics(self) -> Dynamics:
        """The dynamics that predict what plans lead to; made at their first use."""
        if line_of(PLANNERS, "PLANNERS", self.planning.planner).differentiates:
            return DifferentiableDynamics(self.model)
        return dynamics_of(self.model, self.precision.name)

    @property
    def make_cost(self) -> MakeCost | None:
        """Makes the cost of plans; None for the cost of the settings."""
        return None

    @cached_property
    def solver(self) -> Solver:
        """The solver that makes the plans; made at its first use.

        Raises:
            LewmError: the checkpoint has no action statistics.
        """
        with torch.inference_mode(False):  # autograd keeps no tensor that was made in that mode
            bounds = None if self.bounds is None else self.bounds.normalized(self.model.block_statistics())
            return Solver(
                self.dynamics,
                self.planning,
                self.seed,
                frameskip=self.model.config.frameskip,
                one_hot=self.one_hot,
                bounds=bounds,
                make_cost=self.make_cost,
                on_compile=self.on_compile,
            )

    def prepare(self) -> None:
        """Make the solver now, if there is to be one: what is wrong with the settings is found before all else is done.

        Raises:
            LewmError: the checkpoint has no action statistics, or the cost cannot be made.
        """
        if self.searches:
            _ = self.solver

    @property
    def seconds_preparing(self) -> float:
        """Seconds spent so far on compiling kernels and capturing CUDA graphs."""
        return self.solver.seconds_preparing if self.searches else 0.0

    def _follow(
        self, context: Context, goals: Float[Tensor, "B D"], horizon: int, count: int
    ) -> Float[Tensor, "B K A"]:
        """The first blocks of the policy, each chosen where the blocks before it are imagined to lead.

        Args:
            horizon: Blocks until the planned arrival.
            count: K.
        """
        assert self.policy is not None
        latents, chosen = context.latents[:, -1], goals.new_zeros(len(goals), 0, self.model.config.action_block)
        for done in range(count):
            if done:
                latents = self.imagine(context, chosen)[:, -1]
            steps = torch.full((len(goals),), (horizon - done) * self.model.config.frameskip, device=goals.device)
            block = self.policy(latents, goals, steps)
            if self.bounds is not None:
                block = self.bounds.normalized(self.model.block_statistics()).clamp(block)
            chosen = torch.cat([chosen, block[:, None]], dim=1)
        return chosen

    @property
    def _unpacked(self) -> str | None:
        """Why the predictor is not packed; None where it is."""
        if line_of(PLANNERS, "PLANNERS", self.planning.planner).differentiates:
            return f'the planner "{self.planning.planner.kind}" asks for gradients'
        return self.model.packing_obstacle

    @cached_property
    def _every_bound(self) -> BlockBounds | None:
        return self.model.block_bounds(every=True)
