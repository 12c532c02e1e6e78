"""The experiment of arXiv 2603.19312, section 5: are events against physics more surprising than what really happened?

Every perturbed episode is compared with its untouched twin, once with known and once with unknown actions.

T frames of an episode, S frames of a perturbed episode, K of which are from the onset on, P actions of an episode, A
action width, D latent width.
"""

from __future__ import annotations

import copy
import functools
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor

from lewm.errors import LewmError
from lewm.figures import import_figure
from lewm.model.world_model import WorldModel
from lewm.opened_run import Run, open_run
from lewm.provenance import versions
from lewm.report_files import keeping, new_report
from lewm.run_worlds import world_to_act_in
from lewm.surprise.basis import basis_of
from lewm.surprise.calibration import calibrate, check_alpha
from lewm.surprise.clean_data import reference_of
from lewm.surprise.meter import ActionSearch, Meter, blocks_leading_to
from lewm.surprise.outcomes import AFTER, BEFORE, FalseAlarms, Outcome, compare, false_alarms
from lewm.surprise.suite_pictures import Example, draw_suite, write_examples
from lewm_data.collection.record_episodes import record
from lewm_data.envs.world import World
from lewm_data.seeds import check_seed
from lewm_data.video.video_writer import import_encoder

SPREAD = 20  # frames over which onsets are spread
ACTIONS = ("known", "unknown")
SUITE_NEEDS = "The suite needs a simulator. Watch recordings instead: lewm surprise VIDEO, or lewm surprise DATA.h5#0."

OnProgress = Callable[[str, float], None]  # what is being done, and the share of it that is done


@dataclass(frozen=True)
class SuiteRequest:
    """What `lewm surprise --suite` asks for.

    Attributes:
        env: The environment whose episodes are perturbed, which has to be the run's. "package:Id-v0" imports the
            package.
        episodes: E.
        calibrate: Dataset of clean episodes; the run's held-out ones when None.
        alpha: Share of clean frames that are flagged: false alarms.
        seed: Seed of the episodes, the onsets and the perturbations.
    """

    run: Path
    env: str
    episodes: int = 100
    calibrate: Path | None = None
    alpha: float = 0.01
    seed: int = 0


@dataclass(frozen=True)
class SuiteReport:
    """What the suite found, with everything needed to repeat it; `calibration` is the `Basis` of the threshold."""

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
        DataError: the seed does not fit in 64 bits.
        LewmError: the run is of another world, the world has no perturbations or no simulator, or nothing can be
            written into the run.
        DataError: the package that `env` names cannot be imported.
        NotKeptError: the result is there, but it, its pictures or its videos could not be written.
    """
    check_seed(request.seed)
    check_alpha(request.alpha)
    import_figure()
    import_encoder("mp4")
    run = open_run(request.run, device)
    place = world_to_act_in(run, SUITE_NEEDS, request.env, "--suite")
    if not place.perturbations:
        raise LewmError(f"{place.name} has no perturbations", "See CONTRIBUTING.md on how to add some.")
    with new_report(run.path, "surprise-suite") as out:
        return _run(request, place, run, out, on_progress), out


def _run(request: SuiteRequest, place: World, run: Run, out: Path, on_progress: OnProgress) -> SuiteReport:
    place.make(1, run.trained_on.frame_size[0], False).close()  # raises early where the world needs what is missing
    model = run.model
    reference, source = reference_of(run, request.calibrate)
    frameskip = model.config.frameskip
    calibrations, flags = {}, {}
    for actions in ACTIONS:
        on_progress(f"calibrating, actions {actions}", 0)
        calibrations[actions] = calibrate(model, reference, actions == "known", request.seed)
        calibrations[actions].threshold(request.alpha)  # raises before the work where there are too few clean frames
        flags[actions] = functools.partial(calibrations[actions].flags, frameskip=frameskip, alpha=request.alpha)
    basis = basis_of(run, source, calibrations["known"], request.alpha)
    search = ActionSearch(reference.blocks, request.seed)
    earliest = frameskip * model.history + BEFORE
    steps = earliest + SPREAD + AFTER
    onsets = np.random.default_rng([request.seed, 0]).integers(earliest, earliest + SPREAD, request.episodes)
    untouched: dict[str, list[np.ndarray]] = {actions: [] for actions in ACTIONS}
    perturbed: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
    examples: list[Example] = []
    for number, onset in enumerate(onsets.tolist()):  # one at a time: a hundred episodes and their twins fill a memory
        on_progress("episodes", number / request.episodes)
        (episode,) = record(place, [request.seed * 1_000_000 + number], run.trained_on.frame_size[0], steps)
        twins = {
            name: perturb(episode, onset, np.random.default_rng([request.seed, 1, number, kind]))
            for kind, (name, perturb) in enumerate(place.perturbations.items())
        }
        if not examples:
            examples = [Example("untouched", episode.frames, onset)]
            examples += [Example(name, twin.frames, onset) for name, twin in twins.items()]
        whole = _embed(model, episode.frames)
        after = {name: _embed(model, twin.frames[onset : onset + AFTER]) for name, twin in twins.items()}
        told = {name: twin.actions for name, twin in twins.items()}
        for actions in ACTIONS:
            scorer = search if actions == "unknown" else None
            clean, changed = _scores(model, whole, after, onset, episode.actions, told, scorer)
            untouched[actions].append(clean)
            for name, scores in changed.items():
                perturbed[name, actions].append(scores)
    compared = [
        compare(name, actions, untouched[actions], perturbed[name, actions], onsets, frameskip, flags[actions])
        for actions in ACTIONS
        for name in place.perturbations
    ]
    report = SuiteReport(
        env=place.name,
        episodes=request.episodes,
        alpha=request.alpha,
        seed=request.seed,
        outcomes=tuple(outcome for outcome, _ in compared),
        false_alarms=tuple(
            false_alarms(actions, untouched[actions], calibrations[actions], frameskip, request.alpha, request.seed)
            for actions in ACTIONS
        ),
        calibration=basis.as_dict(),
        checkpoint_sha256=run.checkpoint_sha256,
        versions=versions(),
    )
    with keeping(out, report):
        write_examples(out.with_suffix(""), examples)
        draw_suite(out.with_suffix("") / "suite.png", [curves for _, curves in compared], examples, BEFORE, frameskip)
    return report


@torch.inference_mode()
def _embed(model: WorldModel, frames: np.ndarray) -> Float[Tensor, "T D"]:
    return model.embed(torch.from_numpy(frames)).float()


def _scores(
    model: WorldModel,
    latents: Float[Tensor, "T D"],
    after: Mapping[str, Float[Tensor, "K D"]],
    onset: int,
    actions: Float32[np.ndarray, "P A"],
    told: Mapping[str, Float32[np.ndarray, "P A"]],
    search: ActionSearch | None,
) -> tuple[Float64[np.ndarray, " T"], dict[str, Float64[np.ndarray, " S"]]]:
    """Surprise of the untouched episode, and of each twin for the 20 frames from the onset on.

    Args:
        latents: Latents of the untouched episode.
        after: Latents of each twin from the onset on; before it, they are those of the untouched episode.
        actions, told: What was done, and what the model is told in each twin; unused with a `search`.
    """

    def blocks(taken: np.ndarray) -> Tensor | ActionSearch:
        return search or blocks_leading_to(model, torch.from_numpy(taken).to(model.device))

    meter = Meter(model, model.config.frameskip, blocks(actions))
    before = meter.push(latents[:onset])
    perturbed = {}
    for name, changed in after.items():
        branch = copy.copy(meter)
        branch.actions = blocks(told[name])
        perturbed[name] = torch.cat([before, branch.push(changed)]).double().cpu().numpy()
    untouched = torch.cat([before, meter.push(latents[onset:])])
    return untouched.double().cpu().numpy(), perturbed
