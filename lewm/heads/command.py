"""The work of `lewm train-head` and `lewm train-policy`: what is learnt on the frozen latents of a run.

E episodes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64

from lewm import locks
from lewm.checkpoints import run as runs
from lewm.episode_latents import EpisodeLatents, encode_episodes
from lewm.errors import LewmError
from lewm.files import check_output
from lewm.heads.amortised import PolicySettings, measure_policy, train_policy
from lewm.heads.files import HEAD, POLICY
from lewm.heads.moves import draw_moves
from lewm.heads.pairs import draw_pairs
from lewm.heads.temporal import HeadSettings, Ranking, StepsError, measure_head, train_head
from lewm.model.world_model import WorldModel
from lewm.opened_run import Run, RunData, open_run
from lewm.planning.costs.head import save_head
from lewm.planning.policy import save_policy
from lewm.provenance import versions
from lewm.report_files import keeping, new_report
from lewm.run_worlds import world_to_act_in
from lewm_data.seeds import check_seed
from lewm_data.store.dataset import Dataset

HELD_OUT_FRAMES = 20_000  # at most so many frames of the held-out episodes
MEASURED = 4000  # held-out pairs, or moves, that the error is measured on
MEASURED_IMAGINED = 0.5  # share of these pairs whose earlier latent is imagined
ACTS = "Train a policy for a world that has a simulator."

OnProgress = Callable[[str, float], None]  # what is done now, and which share of it is done


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
        seconds: What encoding, training and measuring took.
        held_out: Whether the model's training held out the episodes of the errors. Of an imported run that is not
            known: only what is trained here did not see them.
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
    """What `lewm train-policy` asks for; the attributes are those of `HeadRequest`."""

    run: Path
    data: Path | None
    settings: PolicySettings


@dataclass(frozen=True)
class PolicyReport:
    """The result of `train_policy_of`.

    Attributes:
        error: Mean squared error of normalised actions in episodes that the policy did not see.
        mean_action: The same where every action is taken for the mean of the training data.
        policy: The settings of its training.
        seconds: What encoding, training and measuring took.
        held_out: Whether the model's training held out the episodes of the errors. Of an imported run that is not
            known: only what is trained here did not see them.
    """

    error: float
    mean_action: float
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
    request: HeadRequest, device: torch.device, on_progress: OnProgress = lambda what, share: None
) -> tuple[HeadReport, Path]:
    """Train a temporal head on the latents of a run, and keep it in the run.

    Returns:
        The report, and the JSON file in the run it was written to.

    Raises:
        DataError: the seed does not fit in 64 bits.
        LewmError: the run or its dataset is missing, they do not belong together, no episode is long enough, or nothing
            can be written into the run.
        NotKeptError: the result is there, but it or the head could not be written.
    """
    settings = request.settings
    with _opened(request, device, HEAD, "head") as (run, data, out):
        begun = time.perf_counter()
        model = run.model
        seen, unseen, longest, unseen_longest = _latents(model, data, settings, on_progress)
        shape = (settings.imagined, settings.horizon)
        pairs = draw_pairs(model, seen, settings.pairs, longest, *shape, _rng(settings, 1))
        head = train_head(pairs, settings, lambda share: on_progress("training the head", share))
        held_out = draw_pairs(
            model, unseen, MEASURED, unseen_longest, MEASURED_IMAGINED, settings.horizon, _rng(settings, 2)
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
    request: PolicyRequest, device: torch.device, on_progress: OnProgress = lambda what, share: None
) -> tuple[PolicyReport, Path]:
    """Train a policy on the latents of a run, and keep it in the run.

    Returns:
        The report, and the JSON file in the run it was written to.

    Raises:
        DataError: the seed does not fit in 64 bits.
        LewmError: as in `train_head_of`; or the actions of the world are choices.
        NotKeptError: the result is there, but it or the policy could not be written.
    """
    settings = request.settings
    with _opened(request, device, POLICY, "policy") as (run, data, out):
        if world_to_act_in(run, ACTS).action_groups is not None:
            raise LewmError(
                f"{run.path}: the actions of {run.config.env} are choices, and a policy gives numbers",
                'Plan with "lewm plan --planner cem".',
            )
        begun = time.perf_counter()
        model = run.model
        seen, unseen, longest, unseen_longest = _latents(model, data, settings, on_progress)
        moves = draw_moves(model, seen, settings.moves_per_frame * len(seen.latents), longest, _rng(settings, 1))
        policy = train_policy(moves, longest, settings, lambda share: on_progress("training the policy", share))
        held_out = draw_moves(model, unseen, MEASURED, unseen_longest, _rng(settings, 2))
        report = PolicyReport(
            error=measure_policy(policy, held_out),
            mean_action=float(held_out.blocks.square().mean()),
            policy=replace(settings, longest=longest, frames=len(seen.latents)),
            seconds=time.perf_counter() - begun,
            held_out=run.holds_out,
            checkpoint_sha256=run.checkpoint_sha256,
            dataset_fingerprint=run.trained_on.fingerprint,
            versions=versions(),
        )
        with keeping(out, report):
            save_policy(run.path / POLICY, policy, run.checkpoint_sha256)
    return report, out


@contextmanager
def _opened(
    request: HeadRequest | PolicyRequest, device: torch.device, name: str, kind: str
) -> Iterator[tuple[Run, RunData, Path]]:
    """The run, locked, with the data of its training, and the path of the report."""
    check_seed(request.settings.seed)
    run = open_run(request.run, device)
    check_output(run.path / name, "Move it away, or copy the run to a folder that you can write to.")
    with new_report(run.path, kind) as out, run.data(request.data) as data, locks.writing(run.path):
        data.check_in_training("Give --data the dataset as it was in training.")
        if not runs.holds_weights(run.path, run.model):
            raise LewmError(f"{run.path}: was trained further meanwhile", "Give the same command again.")
        yield run, data, out


def _latents(
    model: WorldModel, data: RunData, settings: HeadSettings | PolicySettings, on_progress: OnProgress
) -> tuple[EpisodeLatents, EpisodeLatents, int, int]:
    """Latents of episodes that training saw, and of others that it held out; the most steps between two moments."""
    dataset = data.dataset
    frameskip = model.config.frameskip
    seen = _some(dataset, data.seen, frameskip, settings.frames, settings.seed)
    unseen = _some(dataset, data.unseen, frameskip, HELD_OUT_FRAMES, settings.seed)
    longest = _longest(dataset, frameskip, settings.longest, seen, unseen)
    return (
        encode_episodes(model, dataset, seen, lambda share: on_progress("encoding episodes", share)),
        encode_episodes(model, dataset, unseen, lambda share: on_progress("encoding held-out episodes", share)),
        *longest,
    )


def _some(
    dataset: Dataset, episodes: Int64[np.ndarray, " E"], frameskip: int, frames: int | None, seed: int
) -> Int64[np.ndarray, " n"]:
    """Episodes in a random order: all if `frames` is None, else as many as have no more together; at least one.

    Those that are shorter than a block are left out, if there are others.
    """
    long_enough = episodes[dataset.lengths[episodes] > frameskip]
    drawn = np.random.default_rng([seed, len(episodes)]).permutation(long_enough if len(long_enough) else episodes)
    if frames is None:
        return drawn
    count = int((np.cumsum(dataset.lengths[drawn]) <= frames).sum())
    return drawn[: max(1, count)]


def _longest(
    dataset: Dataset, frameskip: int, asked: int | None, seen: Int64[np.ndarray, " E"], unseen: Int64[np.ndarray, " n"]
) -> tuple[int, int]:
    """The most steps between two moments, in training and in episodes that the policy did not see."""
    longest, unseen_longest = (int(dataset.lengths[episodes].max()) - 1 for episodes in (seen, unseen))
    if unseen_longest < frameskip:
        raise LewmError(
            f"{dataset.path}: the longest held-out episode has {unseen_longest} steps, and a block has {frameskip}: "
            "the errors cannot be measured",
            "Train on more or longer episodes, or hold out more of them with --set training.held_out=SHARE.",
        )
    if asked is not None and asked > longest:
        raise LewmError(
            f"{dataset.path}: --longest is {asked}, and the longest training episode that is used has {longest} steps",
            'Give a smaller --longest, or train on longer episodes: see "lewm collect --max-steps".',
        )
    longest = asked or longest
    return longest, min(longest, unseen_longest)


def _rng(settings: HeadSettings | PolicySettings, use: int) -> np.random.Generator:
    return np.random.default_rng([settings.seed, use])
