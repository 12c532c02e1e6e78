"""How an agent is set to act on tasks: settings that follow from the tasks, and what is said of them."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

from lewm.config import Config, Planning, method_of
from lewm.evaluation.tasks import PAPER, Tasks
from lewm.heads.files import own_policy, with_own_head
from lewm.opened_run import Run
from lewm.planning.controller import Controller
from lewm.planning.solver import OnCompile
from lewm.recipes import PUBLISHED
from lewm_data.envs.world import World

log = logging.getLogger(__name__)


def controller_of(
    run: Run,
    place: World,
    planning: Planning,
    seed: int,
    on_compile: OnCompile = lambda compiled, total: None,
) -> Controller:
    """What makes the plans of a run, with the head or the policy of the run that the settings ask for.

    Raises:
        LewmError: The run does not have it, or it was learnt on other weights.
    """
    kind, groups = planning.policy, place.action_groups
    policy = None if kind is None or groups is not None else own_policy(run, kind)
    return Controller(run.model, with_own_head(run, planning), seed, groups, on_compile, policy)


def by_protocol(planning: Planning, protocol: str, chosen: Collection[str]) -> Planning:
    """Settings for tasks of a protocol: for those of "paper", what the user has not set is as published."""
    if protocol != PAPER:
        return planning
    return planning.model_copy(update={key: value for key, value in PUBLISHED.items() if key not in chosen})


def how_planned(controller: Controller, config: Config) -> dict[str, Any]:
    """What the report says of the planning: of an agent that does not plan, its name.

    Args:
        controller: What plans.
        config: The configuration of the run, which says by which method the model was trained.
    """
    planning = controller.planning
    if not planning.plans:
        return {"agent": planning.agent}
    return {
        "method": method_of(config),
        **planning.model_dump(mode="json", by_alias=True),
        "searches": "numbers" if controller.action_groups is None else "choices",
        "precision": controller.precision.name,
        "precision_reason": controller.precision.reason,
    }


def acting(controller: Controller, tasks: Tasks, horizon_given: bool) -> Planning:
    """Settings with which a policy acts; those of a search are as they were.

    A policy that is told the steps is to arrive in as many blocks as the goals are ahead, where that is known and no
    horizon is given; it looks as often as with the horizon of the settings. The plans of one that is not told them have
    the blocks that are executed.
    """
    planning = controller.planning
    if controller.searches:
        return planning
    execute = planning.execute or planning.horizon
    if controller.policy is not None and controller.policy.longest is None:
        return planning.model_copy(update={"horizon": execute, "execute": execute})
    if tasks.goal_offset is None or horizon_given:
        return planning
    blocks = -(-tasks.goal_offset // controller.model.config.frameskip)
    return planning.model_copy(update={"horizon": blocks, "execute": min(execute, blocks)})


def warn_of_short_budget(tasks: Tasks) -> None:
    """Warn where the way to the goals is longer than the budget."""
    if tasks.goal_offset is not None and tasks.goal_offset > tasks.budget:
        log.warning(
            "the goals are %d environment steps ahead and the budget is %d: only a task that can be solved in fewer "
            "steps than its episode took can be solved at all",
            tasks.goal_offset,
            tasks.budget,
        )


def warn_of_short_plans(controller: Controller, tasks: Tasks) -> None:
    """Warn where a plan is longer than the budget."""
    frameskip, budget = controller.model.config.frameskip, tasks.budget
    horizon, execute = controller.schedule.stage(0)
    if horizon * frameskip > budget:
        log.warning(
            "a plan has %d environment steps (horizon %d, frameskip %d) and the budget is %d: the goal is planned for "
            "after the budget is spent, and at most %d steps of a plan are executed",
            horizon * frameskip,
            horizon,
            frameskip,
            budget,
            min(execute * frameskip, budget),
        )
