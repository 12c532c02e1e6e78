"""Policies that are learnt as soon as a world model is trained: the work of `lewm train --policy`."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from lewm.checkpoints.run import resume_command
from lewm.config import Config, PolicyKind
from lewm.errors import LewmError, unknown
from lewm.heads.command import ACTS, PolicyReport, PolicyRequest, refuse_choices, train_policy_of
from lewm.heads.files import holds_policy
from lewm.heads.policies import POLICIES
from lewm.heads.prepared import LastEncoded
from lewm.opened_run import open_run
from lewm.training.interruption import Interrupted, Interruption
from lewm_data.envs.registry import known_world

OnPolicy = Callable[[PolicyKind, str, float], None]  # which policy is learnt, what is done now, which share of it


def checked_policies(config: Config, kinds: Sequence[str]) -> list[PolicyKind]:
    """The kinds, each once; raises where they cannot be learnt in a run. To be asked before the hours of its training.

    Args:
        config: The run's configuration. The package of its world, if that is from one, has been imported.
        kinds: The kinds of policies.

    Raises:
        LewmError: there is no such kind, lewm has no simulator of the world, or its actions are choices.
    """
    checked: list[PolicyKind] = []
    for kind in dict.fromkeys(kinds):
        if kind not in POLICIES:
            raise unknown("kind of policy", kind, POLICIES)
        checked.append(kind)
    if checked:
        place = known_world(config.env)
        if place is None:
            raise LewmError(f"{config.env}: lewm has no simulator of it, in which a policy could act", ACTS)
        refuse_choices(config.env, place)
    return checked


def train_policies(
    run: Path, data: Path, kinds: Sequence[PolicyKind], device: torch.device, on_progress: OnPolicy
) -> dict[PolicyKind, PolicyReport | None]:
    """Train policies with the default settings, one after the other, and keep each in the run when it is done.

    Args:
        run: A run directory.
        data: The dataset of its training.
        kinds: The kinds of policies; those that the run has already, for the weights that it has now, stay as they are.
        device: Where to train.
        on_progress: Is told what is done.

    Returns:
        The report on each kind; None for those that were there already.

    Raises:
        Interrupted: a signal came; says which policies are kept, and how to go on.
        LewmError: as in `train_policy_of`.
        NotKeptError: as in `train_policy_of`.
    """
    reports: dict[PolicyKind, PolicyReport | None] = {}
    opened, encode = open_run(run, device), LastEncoded()
    with Interruption() as interruption:
        try:
            for kind in kinds:
                reports[kind] = None
                if not holds_policy(opened, kind):
                    request = PolicyRequest(run, data, kind)
                    reports[kind], _ = train_policy_of(request, device, _of(kind, on_progress), encode)
        except KeyboardInterrupt as error:
            kept = [kind for kind in kinds if holds_policy(opened, kind)]
            what = "the trained model is kept" + (f", and so are the policies {', '.join(kept)}" if kept else "")
            number = interruption.arrived or signal.SIGINT
            raise Interrupted(number, f"interrupted: {what}", with_policies(resume_command(run), kinds)) from error
    return reports


def with_policies(command: str, kinds: Sequence[PolicyKind]) -> str:
    """The command that goes on with a training, and then trains the policies too."""
    return " ".join([command, *(f"--policy {kind}" for kind in kinds)])


def _of(kind: PolicyKind, on_progress: OnPolicy) -> Callable[[str, float], None]:
    return lambda what, share: on_progress(kind, what, share)
