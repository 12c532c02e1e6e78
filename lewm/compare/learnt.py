"""What is learnt on the frozen latents of a run, where its plans need it: a policy, or a head for costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from lewm.config import HeadCost, Planning, PolicyKind
from lewm.heads.command import HeadRequest, PolicyRequest, train_head_of, train_policy_of
from lewm.heads.files import HEAD, own_head, own_policy, policy_file
from lewm.heads.policies import POLICIES
from lewm.heads.prepared import LastEncoded
from lewm.heads.temporal import HeadSettings
from lewm.opened_run import open_run
from lewm.planning.costs.head import load_head
from lewm.planning.policy import load_policy


def needed(planning: Planning) -> tuple[PolicyKind | None, ...]:
    """What has to be learnt for plans with these settings: kinds of policies, and None for the head."""
    head = planning.agent == "planner" and isinstance(planning.cost, HeadCost) and planning.cost.path is None
    return (*(() if planning.policy is None else (planning.policy,)), *((None,) if head else ()))


def file_of(kind: PolicyKind | None) -> str:
    """The file of a run that has what is learnt."""
    return HEAD if kind is None else policy_file(kind)


def is_given(run: Path, kind: PolicyKind | None) -> bool:
    """Whether a run has it already.

    Raises:
        LewmError: What it has is damaged, or was learnt on other weights; it may be of use to its owner.
    """
    if not (run / file_of(kind)).exists():
        return False
    opened = open_run(run)
    _ = own_head(opened) if kind is None else own_policy(opened, kind)
    return True


def numbers(run: Path, kind: PolicyKind | None) -> int:
    """How many numbers it consists of, as it is in the run.

    Raises:
        LewmError: Its file cannot be read.
    """
    path, device = run / file_of(kind), torch.device("cpu")
    module = load_head(path, device)[0] if kind is None else load_policy(path, device)[0]
    return sum(parameter.numel() for parameter in module.parameters())


def learn(
    run: Path,
    kind: PolicyKind | None,
    data: Path | None,
    seed: int,
    device: torch.device,
    on_share: Callable[[float], None],
    encode: LastEncoded | None = None,
) -> float:
    """Learns it, and keeps it in the run; returns the seconds that this took.

    Args:
        run: The run.
        kind: The kind of policy; None for the head.
        data: Where the dataset of the run is; where it was at the run's training when None.
        seed: Seed of what is drawn.
        device: Where to learn.
        on_share: Called with the share that is done of each part of the work.
        encode: Gives the latents that it is learnt on, see `lewm.heads.prepared.latents_of`.
    """
    if kind is None:
        head = HeadRequest(run, data, replace(HeadSettings(), seed=seed))
        return train_head_of(head, device, lambda _, share: on_share(share), encode)[0].seconds
    policy = PolicyRequest(run, data, kind, POLICIES[kind].settings(seed=seed))
    return train_policy_of(policy, device, lambda _, share: on_share(share), encode)[0].seconds
