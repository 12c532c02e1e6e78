"""The experiment of arXiv 2603.19312, section 5: are events against physics more surprising than what really happened?

Every perturbed episode is compared with its untouched twin, with the actions known and with them unknown.

T frames of an episode (S of a perturbed one), D latent width.
"""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lewm.checkpoints import load
from lewm.checkpoints import run as runs
from lewm.errors import LewmError
from lewm.figures import import_figure
from lewm.files import sha256, write_text
from lewm.model.world_model import WorldModel
from lewm.provenance import versions
from lewm.surprise.calibration import calibrate
from lewm.surprise.meter import ActionSearch, Meter, blocks_leading_to
from lewm.surprise.outcomes import AFTER, BEFORE, FalseAlarms, Outcome, compare, false_alarms
from lewm.surprise.reference import reference_of
from lewm.surprise.suite_pictures import Example, draw_suite, write_examples
from lewm_data.envs.registry import world
from lewm_data.perturbations import Episode, Twin
from lewm_data.record_episodes import record

SPREAD = 20  # frames over which onsets are spread

OnProgress = Callable[[str, float], None]  # what is done, and its share


@dataclass(frozen=True)
class SuiteRequest:
    """What `lewm surprise --suite` asks for.

    Attributes:
        env: The environment whose episodes are perturbed; the run's.
        episodes: E.
        calibrate: Dataset of clean episodes; the run's held-out ones when None.
        alpha: False alarms a clean frame.
        seed: Of the episodes, the onsets and the perturbations.
    """

    run: Path
    env: str
    episodes: int = 100
    calibrate: Path | None = None
    alpha: float = 0.01
    seed: int = 0


@dataclass(frozen=True)
class SuiteReport:
    """What the suite found, with everything needed to repeat it."""

    env: str
    episodes: int
    alpha: float
    seed: int
    outcomes: tuple[Outcome, ...]
    false_alarms: tuple[FalseAlarms, ...]
    calibration: dict[str, Any]
    checkpoint_sha256: str
    versions: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def run_suite(
    request: SuiteRequest, device: torch.device, on_progress: OnProgress = lambda what, share: None
) -> tuple[SuiteReport, Path]:
    """Perturb fresh episodes of a world, and compare.

    Returns:
        The report, and the JSON file in the run that it was written to. In a folder of the same name lie suite.png and
        one mp4 of each perturbation, which `lewm surprise` can watch.

    Raises:
        LewmError: the run is of another world, or the world has no perturbations.
    """
    import_figure()
    place = world(request.env)
    config, trained_on = runs.read_config(request.run)
    if place.name != config.env:
        raise LewmError(f"{request.run}: a run of {config.env}, not of {place.name}", f"Use --suite {config.env}.")
    if not place.perturbations:
        raise LewmError(f"{place.name} has no perturbations", "See CONTRIBUTING.md on how to add some.")
    model = load(request.run).to(device)
    reference = reference_of(request.run, model, config, request.calibrate)
    frameskip = model.config.frameskip
    earliest = frameskip * model.history + BEFORE
    seeds = [request.seed * 1_000_000 + episode for episode in range(request.episodes)]
    episodes = record(place, seeds, trained_on.frame_size[0], earliest + SPREAD + AFTER)
    rng = np.random.default_rng([request.seed, 0])
    onsets = rng.integers(earliest, earliest + SPREAD, request.episodes)
    cases = [
        _Case(
            episode,
            int(onset),
            _embed(model, episode.frames),
            {
                name: perturb(episode, int(onset), np.random.default_rng([request.seed, 1, number, kind]))
                for kind, (name, perturb) in enumerate(place.perturbations.items())
            },
        )
        for number, (episode, onset) in enumerate(zip(episodes, onsets, strict=True))
    ]
    outcomes, alarms, curves = [], [], []
    for mode, actions in enumerate(("known", "unknown")):
        on_progress("calibrating", mode / 2)
        calibration = calibrate(model, reference, actions == "known", request.seed)
        calibration.threshold(request.alpha)  # complains of too few clean frames before the work, not after
        flags = functools.partial(calibration.flags, frameskip=frameskip, alpha=request.alpha)
        search = None if actions == "known" else ActionSearch(reference.blocks, request.seed)
        results = []
        for number, case in enumerate(cases):
            on_progress(f"actions {actions}", (mode + number / len(cases)) / 2)
            results.append(_scores(model, case, search))
        untouched = [clean for clean, _ in results]
        alarms.append(false_alarms(actions, untouched, calibration, frameskip, request.alpha, request.seed))
        for name in place.perturbations:
            perturbed = [twins[name] for _, twins in results]
            outcome, around = compare(name, actions, untouched, perturbed, onsets, frameskip, flags)
            outcomes.append(outcome)
            curves.append(around)
    out = request.run / f"surprise-suite-{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    examples = [Example("untouched", cases[0].episode.frames, cases[0].onset)]
    examples += [Example(name, twin.frames, twin.onset) for name, twin in cases[0].twins.items()]
    write_examples(out.with_suffix(""), examples)
    draw_suite(out.with_suffix("") / "suite.png", curves, examples, BEFORE, frameskip)
    report = SuiteReport(
        env=place.name,
        episodes=request.episodes,
        alpha=request.alpha,
        seed=request.seed,
        outcomes=tuple(outcomes),
        false_alarms=tuple(alarms),
        calibration={
            "data": str(request.calibrate) if request.calibrate else "the run's held-out episodes",
            "clean_frames": len(calibration.clean),
        },
        checkpoint_sha256=sha256(request.run / runs.MODEL),
        versions=versions(),
    )
    write_text(out, json.dumps(report.as_dict(), indent=2) + "\n")
    return report, out


@dataclass(frozen=True)
class _Case:
    """An episode, its latents, and its perturbed twins."""

    episode: Episode
    onset: int
    latents: Float[Tensor, "T D"]
    twins: dict[str, Twin]


@torch.inference_mode()
def _embed(model: WorldModel, frames: np.ndarray) -> Float[Tensor, "T D"]:
    return model.embed(torch.from_numpy(frames)).float()


def _scores(
    model: WorldModel, case: _Case, search: ActionSearch | None
) -> tuple[Float64[np.ndarray, " T"], dict[str, Float64[np.ndarray, " S"]]]:
    """Surprise of the untouched episode, and of each twin for 20 frames from the onset on."""
    onset = case.onset

    def blocks(actions: np.ndarray) -> Tensor | ActionSearch:
        return search or blocks_leading_to(model, torch.from_numpy(actions).to(model.device))

    meter = Meter(model, model.config.frameskip, blocks(case.episode.actions))
    before = meter.push(case.latents[:onset])
    perturbed = {}
    for name, twin in case.twins.items():
        branch = copy.copy(meter)  # it has seen the same frames so far
        branch.actions = blocks(twin.actions)
        after = branch.push(_embed(model, twin.frames[onset : onset + AFTER]))
        perturbed[name] = torch.cat([before, after]).double().cpu().numpy()
    untouched = torch.cat([before, meter.push(case.latents[onset:])])
    return untouched.double().cpu().numpy(), perturbed
