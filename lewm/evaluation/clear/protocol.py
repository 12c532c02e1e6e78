"""What CLEAR-LeWM asks of pairs of start and goal, and when it counts a goal as reached."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from lewm.config import MOST_STEPS

Steps = Annotated[int, Field(gt=0, le=MOST_STEPS)]
Threshold = Annotated[float, Field(ge=0)]

# Names of the tasks in manifests, by our names of the worlds.
TASKS = {"push-t": "pusht", "cube": "cube", "reacher": "reacher", "two-room": "tworoom"}


class Protocol(BaseModel):
    """The part `protocol` of a manifest, which says both how pairs were chosen and how success is judged.

    A key that is not among these is refused, because it could change what counts as success. A key that is missing has
    the value that stands here, as in CLEAR-LeWM itself; the first versions of its manifests have few of them.

    Attributes:
        name: As in CLEAR-LeWM; where this program drew the pairs, "lewm-" and the name of its own protocol.
        sampling, split, heldout_fraction, exclude_initial_success, min_difficulty, reproduce_upstream_off_by_one,
            tworoom_crossroom_only, tworoom_source_window_clean: How the pairs were chosen. They are listed in the
            manifest, so nothing depends on these any more.
        goal_offset, eval_budget: Environment steps from start to goal, and those that are allowed.
        success_mode: "task-sustained": by the thresholds here. "upstream": as in the released code of LeWorldModel,
            see `RELEASED`. "cube-pose": by the thresholds in Cube, elsewhere as in the released code.
        sustained_steps: For how many steps in a row a goal has to be reached, where a task has no number of its own.
        tworoom_collision_mode: The walls' physics. Our Two-Room always sweeps the whole disc, as "swept" asks.

    Source: github.com/DavidSunok/CLEAR-LeWM, v0.5 to v0.8.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    name: Literal[
        "official",
        "moderate",
        "strict",
        "official-compat",
        "clear-id",
        "clear-standard",
        "clear-hard",
        "lewm-held-out",
        "lewm-unsolved",
        "lewm-paper",
    ]
    description: str = ""
    sampling: str
    split: Literal["all", "train", "heldout"]
    heldout_fraction: Annotated[float, Field(ge=0, lt=1)]
    exclude_initial_success: bool
    goal_offset: Steps = 25
    eval_budget: Steps = 50
    cube_position_threshold_m: Threshold = 0.04
    cube_orientation_threshold_deg: Threshold | None = None
    pusht_position_threshold: Threshold = 20.0
    pusht_angle_threshold_deg: Threshold = 20.0
    pusht_block_only: bool = False
    reacher_joint_threshold_rad: Threshold = 0.05
    reacher_wrap_angles: bool = False
    reacher_angle_mode: Literal["raw", "all-periodic", "shoulder-periodic"] | None = None
    reacher_success_mode: Literal["joint", "endpoint"] = "joint"
    reacher_endpoint_threshold_m: Threshold = 0.015
    tworoom_distance_threshold: Threshold = 16.0
    tworoom_crossroom_only: bool = False
    tworoom_source_window_clean: bool = False
    tworoom_route_required: bool = False
    tworoom_goal_side_required: bool = False
    tworoom_collision_mode: Literal["official", "swept"] = "official"
    cube_symmetry_aware: bool = False
    sustained_steps: Steps = 1
    pusht_sustained_steps: Steps | None = None
    cube_sustained_steps: Steps | None = None
    reacher_sustained_steps: Steps | None = None
    tworoom_sustained_steps: Steps | None = None
    success_mode: Literal["upstream", "task-sustained", "cube-pose"] = "upstream"
    reproduce_upstream_off_by_one: bool = False
    min_difficulty: dict[str, float] = Field(default_factory=dict)

    def hold(self, task: str) -> int:
        """For how many steps in a row the goal of `task` has to be reached."""
        own: int | None = getattr(self, f"{task}_sustained_steps")
        return self.sustained_steps if own is None else own

    def rule(self, task: str) -> Protocol:
        """The protocol whose thresholds judge `task`: this one, or that of the released code."""
        own = self.success_mode == "task-sustained" or (self.success_mode == "cube-pose" and task == "cube")
        return self if own else RELEASED


RELEASED = Protocol(
    name="official",
    sampling="row-uniform",
    split="all",
    heldout_fraction=0.0,
    exclude_initial_success=False,
    reproduce_upstream_off_by_one=True,
)

# Source: EVALUATION_SPEC_V08.md of CLEAR-LeWM. In every world, the first is our own rule, `World.solved`.
MODERATE = Protocol(
    name="moderate",
    sampling="episode-balanced",
    split="all",
    heldout_fraction=0.0,
    exclude_initial_success=True,
    reacher_angle_mode="shoulder-periodic",
    tworoom_crossroom_only=True,
    tworoom_source_window_clean=True,
    tworoom_collision_mode="swept",
    success_mode="task-sustained",
)
STRICT = MODERATE.model_copy(
    update={
        "name": "strict",
        "cube_position_threshold_m": 0.03,
        "cube_orientation_threshold_deg": 15.0,
        "cube_symmetry_aware": True,
        "cube_sustained_steps": 3,
        "pusht_position_threshold": 10.0,
        "pusht_angle_threshold_deg": 10.0,
        "pusht_block_only": True,
        "pusht_sustained_steps": 3,
        "reacher_angle_mode": None,
        "reacher_success_mode": "endpoint",
        "reacher_endpoint_threshold_m": 0.01,
        "reacher_sustained_steps": 2,
        "tworoom_distance_threshold": 8.0,
        "tworoom_route_required": True,
        "tworoom_goal_side_required": True,
    }
)
