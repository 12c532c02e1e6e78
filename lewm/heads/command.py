"""The work of `lewm train-head` and `lewm train-policy`: what is learnt on the frozen latents of a run."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from lewm.config import PolicyKind
from lewm.errors import LewmError, unknown
from lewm.heads.files import HEAD, policy_file
from lewm.heads.fitting import rng_of
from lewm.heads.pairs import draw_pairs
from lewm.heads.policies import POLICIES
from lewm.heads.policies.idm import IdmSettings
from lewm.heads.policies.learning import Material, PolicySettings
from lewm.heads.prepared import LastEncoded, OnProgress, latents_of, opened
from lewm.heads.temporal import HeadSettings, Ranking, StepsError, measure_head, train_head
from lewm.planning.costs.head import save_head
from lewm.planning.policy import save_policy
from lewm.provenance import versions
from lewm.report_files import keeping
from lewm.run_worlds import world_to_act_in
from lewm_data.envs.world import World

MEASURED = 4000  # held-out pairs that the head is measured on
MEASURED_IMAGINED = 0.5  # share of these pairs whose earlier latent is imagined
ACTS = "Train a policy for a world that has a simulator."


@dataclass(frozen=True)
class HeadRequest:
    """What `lewm train-head` asks for.

    Attributes:
        run: A run directory.
        data: Where the dataset it was trained on is now; where it was then when None.
        settings: How to train the head.
    """

    run: Path
    data: Path | None
    settings: HeadSettings


@dataclass(frozen=True)
class HeadReport:
    """The result of `train_head_of`.

    Attributes:
        errors: The head's errors on episodes that it did not see, by range of steps.
        real: How pairs of these are ranked; None where there are none.
        imagined: The same where the earlier latent is imagined.
        head: The settings of its training.
        seconds: What training and measuring took, without the encoding of episodes.
        held_out: Whether the model's training held out the episodes of the errors. This is not known where the run was
            imported: only what is trained here did not see them.
    """

    errors: tuple[StepsError, ...]
    real: Ranking | None
    imagined: Ranking | None
    head: HeadSettings
    seconds: float
    held_out: bool
    checkpoint_sha256: str
    dataset_fingerprint: str
    versions: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class PolicyRequest:
    """What `lewm train-policy` asks for.

    Attributes:
        run: A run directory.
        data: Where the dataset it was trained on is now; where it was then when None.
        kind: Which of `POLICIES`.
        settings: How to train the policy, of the class of that kind; its defaults when None.

    Raises:
        LewmError: there is no such kind.
    """

    run: Path
    data: Path | None
    kind: PolicyKind = "idm"
    settings: PolicySettings | None = None

    def __post_init__(self) -> None:
        if self.kind not in POLICIES:
            raise unknown("kind of policy", self.kind, POLICIES)


@dataclass(frozen=True)
class PolicyReport:
    """The result of `train_policy_of`.

    Attributes:
        kind: Which of `POLICIES`.
        error: Mean squared error of normalised actions in episodes that the policy did not see.
        mean_action: The same where every action is taken for the mean of the training data.
        value_correlation: Spearman's rank correlation of minus the value with the steps to the goal in these episodes;
            None for a kind that learns no value.
        policy: The settings of its training.
        seconds: What training and measuring took, without the encoding of episodes.
        held_out: Whether the model's training held out the episodes of the errors. This is not known where the run was
            imported: only what is trained here did not see them.
    """

    kind: PolicyKind
    error: float
    mean_action: float
    value_correlation: float | None
    policy: PolicySettings
    seconds: float
    held_out: bool
    checkpoint_sha256: str
    dataset_fingerprint: str
    versions: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def train_head_of(
    request: HeadRequest,
    device: torch.device,
    on_progress: OnProgress = lambda what, share: None,
    encode: LastEncoded | None = None,
) -> tuple[HeadReport, Path]:
    """Train a temporal head on the latents of a run, and keep it in the run.

    Args:
        request: What is asked for.
        device: Where to train.
        on_progress: Is told what is done.
        encode: See `latents_of`.

    Returns:
        The report, and the JSON file in the run it was written to.

    Raises:
        DataError: the seed does not fit in 64 bits.
        LewmError: the run or its dataset is missing, they do not belong together, no episode is long enough, or nothing
            can be written into the run.
        NotKeptError: the result is there, but it or the head could not be written.
    """
    settings = request.settings
    given = (request.run, request.data, settings.seed, device)
    with opened(*given, HEAD, "head") as (run, data, out):
        model = run.model
        seen, unseen, longest, unseen_longest = latents_of(
            model, data, settings.seed, settings.frames, settings.longest, on_progress, encode
        )
        begun = time.perf_counter()
        shape = (settings.imagined, settings.horizon)
        pairs = draw_pairs(model, seen, settings.pairs, longest, *shape, rng_of(settings, 1))
        head = train_head(pairs, settings, lambda share: on_progress("training the head", share))
        held_out = draw_pairs(
            model, unseen, MEASURED, unseen_longest, MEASURED_IMAGINED, settings.horizon, rng_of(settings, 2)
        )
        errors, real, imagined = measure_head(head, held_out, longest)
        report = HeadReport(
            errors=errors,
            real=real,
            imagined=imagined,
            head=replace(settings, longest=longest, frames=len(seen.latents)),
            seconds=time.perf_counter() - begun,
            held_out=run.holds_out,
            checkpoint_sha256=run.checkpoint_sha256,
            dataset_fingerprint=run.trained_on.fingerprint,
            versions=versions(),
        )
        with keeping(out, report):
            save_head(run.path / HEAD, head, run.checkpoint_sha256)
    return report, out


def train_policy_of(
    request: PolicyRequest,
    device: torch.device,
    on_progress: OnProgress = lambda what, share: None,
    encode: LastEncoded | None = None,
) -> tuple[PolicyReport, Path]:
    """Train a policy on the latents of a run, and keep it in the run.

    Args:
        request: What is asked for.
        device: Where to train.
        on_progress: Is told what is done.
        encode: See `latents_of`.

    Returns:
        The report, and the JSON file in the run it was written to.

    Raises:
        DataError: the seed does not fit in 64 bits.
        LewmError: as in `train_head_of`; or the actions of the world are choices.
        NotKeptError: the result is there, but it or the policy could not be written.
    """
    kind = request.kind
    settings = request.settings or POLICIES[kind].settings()
    given = (request.run, request.data, settings.seed, device)
    with opened(*given, policy_file(kind), f"policy-{kind}") as (run, data, out):
        refuse_choices(run.config.env, world_to_act_in(run, ACTS))
        longest = settings.longest if isinstance(settings, IdmSettings) else None
        material = Material(
            run.model, *latents_of(run.model, data, settings.seed, settings.frames, longest, on_progress, encode)
        )
        begun = time.perf_counter()
        learnt = POLICIES[kind].learn(material, settings, lambda share: on_progress("training the policy", share))
        report = PolicyReport(
            kind=kind,
            error=learnt.error,
            mean_action=learnt.mean_action,
            value_correlation=learnt.value_correlation,
            policy=learnt.settings,
            seconds=time.perf_counter() - begun,
            held_out=run.holds_out,
            checkpoint_sha256=run.checkpoint_sha256,
            dataset_fingerprint=run.trained_on.fingerprint,
            versions=versions(),
        )
        with keeping(out, report):
            save_policy(run.path / policy_file(kind), learnt.policy, run.checkpoint_sha256)
    return report, out


def refuse_choices(env: str, place: World) -> None:
    """Raises where the actions of a run's world are choices, as policies give numbers.

    Raises:
        LewmError: they are.
    """
    if place.action_groups is not None:
        raise LewmError(
            f"the actions of {env} are choices, and a policy gives numbers", 'Plan with "lewm plan --planner cem".'
        )
