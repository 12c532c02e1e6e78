"""A model in stable-worldmodel (github.com/galilai-group/stable-worldmodel): a policy of its `World`, and a cost.

As a policy, with this project's planners:

    world = swm.World("swm/PushT-v1", num_envs=4, image_shape=(64, 64))
    world.set_policy(WorldPolicy(lewm.open_run("~/.lewm/runs/mine")))
    world.evaluate(episodes=10, seed=0)

As a cost of its solvers, whose plans its own policy executes:

    run = lewm.open_run("~/.lewm/runs/mine")
    config = PlanConfig(horizon=5, receding_horizon=1, action_block=run.config.model.frameskip)
    scaler = ActionScaler(run.model)
    world.set_policy(WorldModelPolicy(CEMSolver(ModelCost(run.model)), config, process={"action": scaler}))

Both want pictures as `World` gives them without transforms: uint8, one a moment, with rows, columns and colours. The
package is not imported here: what it asks of a policy and of a cost are methods. Written for its version 0.1.1.

N environments, B of them, S candidates, H horizon in blocks, A action-block width, D latent width, T moments, Y and X
the sides of a picture, K steps of a block.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Shaped, UInt8
from torch import Tensor, nn

from lewm.config import Planning, line_of
from lewm.config.planning import Cost as CostSettings
from lewm.config.planning import LastCost
from lewm.errors import LewmError
from lewm.heads.files import own_policy, with_own_head
from lewm.model.world_model import WorldModel
from lewm.opened_run import Run
from lewm.planning.controller import Controller
from lewm.planning.costs import COSTS
from lewm.planning.dynamics import DifferentiableDynamics, Dynamics, dynamics_of
from lewm.planning.plan import Context
from lewm.planning.replanner import Replanner
from lewm_data.envs.gymnasium.spaces import action_groups, to_action


class ModelCost(nn.Module):
    """The cost that its solvers ask for with `get_cost`. Candidates are normalised blocks, as in its own models.

    The latents of the frames and of the goals are kept in the dictionary that a solver gives, as `emb` and `goal_emb`,
    from one iteration to the next; they may also be given there in place of the pictures.

    Args:
        model: The world model, in eval mode, on the device to compute on. It may not be trained further.
        settings: The cost, such as `LastCost()`.
    """

    def __init__(self, model: WorldModel, settings: CostSettings | None = None) -> None:
        super().__init__()
        self.model = model
        settings = settings or LastCost()
        self._make_cost = line_of(COSTS, "COSTS", settings)(settings, model.device)

    def get_cost(self, info_dict: dict[str, Any], action_candidates: Float[Tensor, "B S H A"]) -> Float[Tensor, "B S"]:
        """Costs of candidates.

        Args:
            info_dict: What `World` shows, repeated for each candidate: `pixels` and `goal` (B, S, 1, Y, X, 3).
            action_candidates: Candidates, which may have gradients.

        Raises:
            LewmError: Pictures are missing or of another kind, or blocks have another width.
        """
        width = self.model.config.action_block
        if action_candidates.shape[-1] != width:
            raise LewmError(
                f"candidates have blocks of {action_candidates.shape[-1]} numbers, the model's have {width}",
                f"Give PlanConfig(..., action_block={self.model.config.frameskip}).",
            )
        for name, pictures in (("emb", "pixels"), ("goal_emb", "goal")):
            if name not in info_dict:
                if pictures not in info_dict:
                    raise LewmError(
                        f"info_dict has neither '{pictures}' nor '{name}'",
                        "Give what World shows: pictures of the moment as 'pixels' and of the goal as 'goal'.",
                    )
                latents = self._embed(info_dict[pictures], pictures)
                info_dict[name] = latents[:, None, None].expand(-1, action_candidates.shape[1], -1, -1)
        context, goals = (info_dict[name][:, 0, -1].to(self.model.device) for name in ("emb", "goal_emb"))
        dynamics = self._differentiable if action_candidates.requires_grad else self._packed
        cost = self._make_cost(dynamics, Context(context[:, None]), goals)
        return cost(action_candidates.to(self.model.device))

    @torch.no_grad()
    def _embed(self, pictures: Tensor | np.ndarray, name: str) -> Float[Tensor, "B D"]:
        frames = torch.as_tensor(pictures)[:, 0]  # (B, T, Y, X, 3): the same for all candidates
        return self.model.embed(_one_a_moment(frames, name))

    @cached_property
    def _packed(self) -> Dynamics:
        return dynamics_of(self.model)

    @cached_property
    def _differentiable(self) -> Dynamics:
        return DifferentiableDynamics(self.model)


@dataclass(frozen=True)
class ActionScaler:
    """Turns actions into z-scores and back, for `process={"action": ...}` of its policies.

    Raises:
        LewmError: The model has no action statistics.
    """

    model: WorldModel

    def __post_init__(self) -> None:
        self.model.block_statistics()

    def transform(self, actions: Shaped[np.ndarray, "*batch A"]) -> Float32[np.ndarray, "*batch A"]:
        """Actions in environment units as z-scores."""
        mean, std = self._statistics
        return ((actions - mean) / std).astype(np.float32)

    def inverse_transform(self, scores: Shaped[np.ndarray, "*batch A"]) -> Float32[np.ndarray, "*batch A"]:
        """The inverse of `transform`, within the action bounds that are stored with the model."""
        mean, std = self._statistics
        low, high = (bound.cpu().numpy() for bound in (self.model.action_low, self.model.action_high))
        return np.clip(scores * std + mean, low, high).astype(np.float32)

    @property
    def _statistics(self) -> tuple[np.ndarray, np.ndarray]:
        return self.model.action_mean.cpu().numpy(), self.model.action_std.cpu().numpy()


@dataclass
class _Playing:
    """What one environment does: the goal is that of its episode, and actions wait to be taken."""

    replanner: Replanner
    waiting: deque[Float32[np.ndarray, " action_dim"]] = field(default_factory=deque)


class WorldPolicy:
    """A policy of its `World`: plans towards `goal` as `lewm plan` does, and looks again as often.

    The plans of an environment do not depend on the others. In the n-th episode of environment i, the noise of plans is
    that of number i + N × n of the seed.

    Args:
        run: A run of a model that was trained on such pictures, with such actions.
        planning: How to plan; as the run's configuration says, where None.
        noise_seed: Seed of the plans.

    Raises:
        LewmError: the agent of the settings does not plan, or what it needs is missing.
    """

    type = "lewm"

    def __init__(self, run: Run, planning: Planning | None = None, noise_seed: int = 0) -> None:
        self.run, self.planning, self.noise_seed = run, with_own_head(run, planning or run.config.planning), noise_seed
        if not self.planning.plans:
            raise LewmError(
                f"the agent {self.planning.agent} does not plan", "Give settings of planning with another agent."
            )
        self.env: Any = None

    def set_env(self, env: Any) -> None:  # noqa: ANN401  # its EnvPool, which is not imported here
        """Makes the policy act in these environments; `World.set_policy` calls it."""
        groups = action_groups(env.single_action_space)
        kind = self.planning.policy
        policy = None if kind is None or groups is not None else own_policy(self.run, kind)
        self.controller = Controller(self.run.model, self.planning, self.noise_seed, groups, policy=policy)
        self.controller.prepare()
        self.env = env
        self._playing: dict[int, _Playing] = {}
        self._episodes = [0] * env.num_envs  # that have begun in each environment
        self._seen: Any = None  # the dictionary of the last call: in another one, all environments were reset
        self._marked: Any = None  # the mark of environments that were reset then: it stays in the dictionary

    def get_action(self, info_dict: Mapping[str, Any], **_: object) -> Shaped[np.ndarray, "N ..."]:
        """Actions of all environments; those whose episode is over get 0, which `World` does not execute.

        Args:
            info_dict: What `World` shows: `pixels` and `goal` (N, 1, Y, X, 3).

        Raises:
            LewmError: Pictures of another kind.
        """
        for index in self._beginning(info_dict):
            goal = self.controller.embed(_pictures(info_dict, "goal", index))
            number = index + self.env.num_envs * self._episodes[index]
            self._playing[index] = _Playing(Replanner(self.controller, goal, np.array([number])))
            self._episodes[index] += 1
        space = self.env.single_action_space
        actions = np.zeros((self.env.num_envs, *space.shape), space.dtype)
        over = [np.asarray(info_dict[name]).reshape(-1) for name in ("terminated", "truncated") if name in info_dict]
        for index, playing in self._playing.items():
            if any(ended[index] for ended in over):
                continue
            if not playing.waiting:
                playing.waiting.extend(self._next_block(playing.replanner, info_dict, index))
            actions[index] = to_action(space, playing.waiting.popleft())
        return actions

    def _beginning(self, info_dict: Mapping[str, Any]) -> list[int]:
        """The environments whose episode begins."""
        marked = info_dict.get("_needs_flush")
        if info_dict is not self._seen:
            begin = list(range(self.env.num_envs))
        else:
            begin = [] if marked is None or marked is self._marked else np.flatnonzero(marked).tolist()
        self._seen, self._marked = info_dict, marked
        return begin

    def _next_block(
        self, replanner: Replanner, info_dict: Mapping[str, Any], index: int
    ) -> Float32[np.ndarray, "K action_dim"]:
        latents = self.controller.embed(_pictures(info_dict, "pixels", index)) if replanner.looks_next else None
        return replanner.act(latents, np.array([0]))[0]


def _pictures(info_dict: Mapping[str, Any], name: str, index: int) -> UInt8[np.ndarray, "1 Y X 3"]:
    """What `World` shows of one environment."""
    frames: UInt8[np.ndarray, "1 Y X 3"] = _one_a_moment(torch.as_tensor(info_dict[name])[index, None], name).numpy()
    return frames


def _one_a_moment(pictures: Tensor, name: str) -> UInt8[Tensor, "B Y X 3"]:
    """The only picture (B, Y, X, 3) of each of (B, T, Y, X, 3)."""
    if pictures.dtype != torch.uint8 or pictures.ndim != 5 or pictures.shape[1] != 1 or pictures.shape[-1] != 3:
        raise LewmError(
            f"'{name}' is {str(pictures.dtype).removeprefix('torch.')} {tuple(pictures.shape)}, expected uint8 "
            "(B, 1, Y, X, 3)",
            "Give World an image_shape, and neither World nor its policy a transform of pictures.",
        )
    return pictures[:, 0]
