"""What is learnt on the frozen latents of a run, where its plans need it: a policy, or a head for costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from lewm.config import HeadCost, Planning
from lewm.evaluation.command import PLANNING_NEEDS
from lewm.heads.amortised import PolicySettings
from lewm.heads.command import HeadRequest, PolicyRequest, train_head_of, train_policy_of
from lewm.heads.files import HEAD, POLICY, own_policy, with_own_head
from lewm.heads.temporal import HeadSettings
from lewm.opened_run import Run
from lewm.planning.controller import Controller
from lewm.planning.policy import uses_policy
from lewm.run_worlds import world_to_act_in

HEAD_KIND = "head"
SEARCH, UNTRAINED = "planner", ("planner", "random", "expert")  # agents that need no policy


def needed(planning: Planning) -> tuple[str, ...]:
    """What has to be learnt for plans with these settings: kinds of policies, or the head."""
    if planning.agent not in UNTRAINED:
        return (planning.agent,)
    if planning.agent != SEARCH:
        return ()
    policy = (planning.warm_start,) if planning.warm_start not in ("on", "off") else ()
    head = (HEAD_KIND,) if isinstance(planning.cost, HeadCost) and planning.cost.path is None else ()
    return (*policy, *head)


def decides(planning: Planning) -> bool:
    """Whether the agent looks at frames and decides by a search or a policy."""
    return planning.agent not in UNTRAINED or planning.agent == SEARCH


def controller_of(run: Run, planning: Planning, seed: int) -> Controller:
    """What makes the plans of a run, as in `lewm plan`.

    Raises:
        LewmError: The run has not what the settings ask for.
    """
    planning = with_own_head(run, planning)
    place = world_to_act_in(run, PLANNING_NEEDS)
    policy = own_policy(run) if uses_policy(planning) and place.action_groups is None else None
    return Controller(run.model, planning, seed, place.action_groups, policy=policy)


def file_of(kind: str) -> str:
    """The file of a run that has what is learnt."""
    return HEAD if kind == HEAD_KIND else POLICY


def learn(run: Path, kind: str, seed: int, device: torch.device, on_share: Callable[[float], None]) -> float:
    """Learns it, and keeps it in the run; returns the seconds that this took.

    Args:
        run: The run.
        kind: "head", or a kind of policy.
        seed: Seed of what is drawn.
        device: Where to learn.
        on_share: Called with the share that is done of each part of the work.
    """
    if kind == HEAD_KIND:
        head = HeadRequest(run, None, replace(HeadSettings(), seed=seed))
        return train_head_of(head, device, lambda _, share: on_share(share))[0].seconds
    policy = PolicyRequest(run, None, replace(PolicySettings(), seed=seed))
    return train_policy_of(policy, device, lambda _, share: on_share(share))[0].seconds
