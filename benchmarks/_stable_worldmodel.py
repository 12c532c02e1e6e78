"""stable-worldmodel's planner with the weights of one of our models: a baseline where that package is installed.

Its predictor, its cost and its CEM run as released. Its encoder does not run: latents of frames and goals are given, as
the package itself keeps them from one call to the next.

B environments, S candidates, H horizon in blocks, A action-block width, D latent width.
"""

import contextlib
import importlib.util
import io
from importlib import metadata

import numpy as np
from torch import Tensor, nn

from lewm import recipes
from lewm.checkpoints.released_names import sources
from lewm.config import Cem, Planning
from lewm.model.world_model import WorldModel

PARTS = ("action_embedder.", "predictor.", "prediction_projector.")


def installed() -> bool:
    """Whether the package is installed."""
    return importlib.util.find_spec("stable_worldmodel") is not None


def version() -> str:
    """The name and version of the installed package."""
    return f"stable-worldmodel {metadata.version('stable-worldmodel')}"


class StableWorldModel:
    """Its LeWM and its CEM solver, one environment after the other, which is its default."""

    def __init__(self, model: WorldModel) -> None:
        self.frameskip, self.action_dim = model.config.frameskip, model.config.action_dim
        self.lewm = _lewm(model)

    def costs(self, latents: Tensor, goals: Tensor, candidates: Tensor) -> Tensor:
        """Costs (B, S) of `candidates` (B, S, H, A), from `latents` (B, D) to `goals` (B, D)."""
        S = candidates.shape[1]
        info = {name: value[:, None].expand(-1, S, *value.shape[1:]) for name, value in _info(latents, goals).items()}
        return self.lewm.get_cost(info, candidates)

    def solve(self, latents: Tensor, goals: Tensor, planning: Planning) -> Tensor:
        """Plans (B, H, A) of normalised blocks."""
        from gymnasium.spaces import Box
        from stable_worldmodel import PlanConfig
        from stable_worldmodel.solver import CEMSolver

        planner = planning.planner
        assert isinstance(planner, Cem)
        solver = CEMSolver(
            self.lewm,
            num_samples=planner.samples,
            n_steps=planner.iterations,
            topk=planner.elites,
            device=latents.device,
        )
        solver.configure(
            action_space=Box(-np.inf, np.inf, (len(latents), self.action_dim)),
            n_envs=len(latents),
            config=PlanConfig(planning.horizon, planning.horizon, action_block=self.frameskip),
        )
        with contextlib.redirect_stdout(io.StringIO()):  # it prints its own time
            return solver.solve(_info(latents, goals))["actions"]


def _info(latents: Tensor, goals: Tensor) -> dict[str, Tensor]:
    """The inputs of its cost, which uses only the number of the frames."""
    frames = latents.new_zeros(len(latents), 1, 0)
    return {"pixels": frames, "goal": frames, "emb": latents[:, None], "goal_emb": goals[:, None]}


def _lewm(model: WorldModel) -> nn.Module:
    from stable_worldmodel.wm.lewm import LeWM
    from stable_worldmodel.wm.lewm.module import MLP, Embedder, Predictor

    config = model.config
    sizes, latent = config.predictor, config.latent
    lewm = LeWM(
        encoder=nn.Identity(),
        predictor=Predictor(
            num_frames=sizes.history,
            depth=sizes.depth,
            heads=sizes.heads,
            mlp_dim=sizes.mlp,
            input_dim=latent,
            hidden_dim=sizes.width,
            output_dim=latent,
            dim_head=sizes.head_dim,
        ),
        action_encoder=Embedder(
            input_dim=config.action_block,
            smoothed_dim=config.action_embedder.bottleneck,
            emb_dim=latent,
            mlp_scale=config.action_embedder.hidden // latent,
        ),
        pred_proj=MLP(latent, config.predictor.projector_hidden, latent, norm_fn=nn.BatchNorm1d),
    ).eval()
    ours, theirs = model.state_dict(), lewm.state_dict()
    # the map is written for released encoders; no name of the other parts depends on which
    names = sources(config.model_copy(update={"encoder": recipes.paper("two-room", 2).model.encoder}))
    weights = {name[0]: ours[own].view_as(theirs[name[0]]) for own, (name, *_) in names if own.startswith(PARTS)}
    lewm.load_state_dict(weights)
    return lewm.to(model.device)
