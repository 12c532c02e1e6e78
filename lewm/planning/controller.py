"""From frames and goals to actions in environment units.

B environments, H horizon in blocks, D latent width.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor

from lewm.config import Planning
from lewm.errors import LewmError
from lewm.memory import check_planning
from lewm.model.actions import BlockBounds
from lewm.model.world_model import WorldModel
from lewm.planning.categorical import OneHot
from lewm.planning.cost import rows_together
from lewm.planning.precision import Precision, choose_precision
from lewm.planning.solver import OnCompile, OnIteration, Solver
from lewm_kernels.rollout import Packed, rollout


@dataclass(frozen=True)
class Controller:
    """Plans with a world model.

    The predictor is packed for the first plan: a model that is trained further needs another controller.

    Attributes:
        model: In eval mode, on the device to plan on.
        planning: CEM's settings.
        seed: Of the candidates' noise.
        action_groups: Sizes of the one-hot vectors that an action consists of, which are then what is searched; None
            where actions are numbers.
        on_compile: Told after each kernel that was compiled, how many these are and how many are to be. It happens on
            CUDA devices, when the first plans are made for some number of environments.

    Raises:
        LewmError: the model's device does not have the precision, or not the memory for the candidates of one plan; or
            its actions are not as wide as the groups.
    """

    model: WorldModel
    planning: Planning
    seed: int
    action_groups: tuple[int, ...] | None = None
    on_compile: OnCompile = lambda compiled, total: None

    def __post_init__(self) -> None:
        choose_precision(self.planning.precision, self.model.device)
        check_planning(self.planning, self.model.config.action_block, self.model.device)
        width = self.model.config.action_dim
        if self.action_groups is not None and sum(self.action_groups) != width:
            raise LewmError(
                f"one-hot actions of {sum(self.action_groups)} numbers {self.action_groups}, the model's have {width}",
                "Use a run of that world.",
            )

    @property
    def execute(self) -> int:
        """Environment steps of a plan that are executed before the next."""
        return (self.planning.execute or self.planning.horizon) * self.model.config.frameskip

    @property
    def precision(self) -> Precision:
        """How the predictor's matrix products are rounded in plans."""
        return choose_precision(self.planning.precision, self.model.device)

    @torch.inference_mode()
    def embed(self, frames: UInt8[np.ndarray, "B Y X 3"]) -> Float[Tensor, "B D"]:
        """Embeddings of single frames."""
        return self.model.embed(torch.from_numpy(frames))

    @torch.inference_mode()
    def plan(
        self,
        frames: UInt8[np.ndarray, "B Y X 3"],
        goals: Float[Tensor, "B D"],
        episodes: Int64[np.ndarray, " B"],
        replan: int,
        on_iteration: OnIteration = lambda share: None,
    ) -> Float32[np.ndarray, "B steps action_dim"]:
        """Actions for the next H × frameskip environment steps, in environment units; one-hot ones are 0 and 1.

        With `planning.bounds` they lie within the model's action bounds; a dimension that is held at one value has it
        without them too.

        Args:
            frames: What each environment shows now.
            goals: Embeddings of the goals, from `embed`.
            episodes: A number for each environment; with `replan` and the seed it keys the noise.
            replan: How many plans each of these episodes has had.
            on_iteration: Told the share of the solve that is done.

        Raises:
            LewmError: the memory is too small for a single environment, or the checkpoint has no action statistics.
        """
        model, horizon = self.model, self.planning.horizon
        numbers = torch.from_numpy(episodes).to(model.device)
        plan = self.solver.solve(self.embed(frames)[:, None], goals, numbers, replan, on_iteration)
        blocks = plan.actions if self.action_groups is not None else model.denormalize_actions(plan.actions)
        if self.bounds is not None:
            blocks = self.bounds.clamp(blocks)  # z-scores within the bounds may be rounded to outside
        actions = blocks.reshape(len(frames), horizon * model.config.frameskip, model.config.action_dim)
        return actions.float().cpu().numpy()

    @torch.inference_mode()
    def imagine(
        self, frames: UInt8[np.ndarray, "B Y X 3"], actions: Float32[np.ndarray, "B steps action_dim"]
    ) -> Float[Tensor, "B H D"]:
        """Latents that the model expects after each block of `actions`, which are whole blocks as `plan` gives them.

        Args:
            frames: What each environment shows before the first.
        """
        model = self.model
        blocks = torch.from_numpy(actions).to(model.device).reshape(len(actions), -1, model.config.action_block)
        return rollout(self._packed, self.embed(frames)[:, None], model.normalize_actions(blocks)[:, None])[:, 0]

    @cached_property
    def bounds(self) -> BlockBounds | None:
        """What plans lie within, in environment units; None where nothing bounds them, or where actions are choices."""
        return None if self.action_groups is not None else self.model.block_bounds(self.planning.bounds == "on")

    @cached_property
    def solver(self) -> Solver:
        """What makes the plans; made at its first use, when the predictor is packed.

        Raises:
            LewmError: the checkpoint has no action statistics.
        """
        together = max(1, rows_together(self.model, self.planning.horizon) // self.planning.planner.samples)
        one_hot = None if self.action_groups is None else OneHot.of(self.model, self.action_groups)
        bounds = None if self.bounds is None else self.bounds.normalized(self.model.block_statistics())
        return Solver(self._packed, self.planning, self.seed, together, one_hot, bounds, self.on_compile)

    @cached_property
    def _packed(self) -> Packed:
        return self.model.pack(self.precision.name)
