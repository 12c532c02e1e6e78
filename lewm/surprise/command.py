"""The work of `lewm surprise`: finds the events of a video in one pass through it.

n frames at a time, Y and X the sides of a frame.
"""

from __future__ import annotations

import contextlib
import csv
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lewm.checkpoints.run import Recorded
from lewm.errors import LewmError
from lewm.figures import import_figure
from lewm.files import replacing
from lewm.model.world_model import WorldModel
from lewm.opened_run import Run, open_run
from lewm.provenance import versions
from lewm.report_files import Beside, keeping, new_report
from lewm.surprise import meter
from lewm.surprise.basis import basis_of
from lewm.surprise.calibration import calibrate, check_alpha
from lewm.surprise.clean_data import reference_of
from lewm.surprise.meter import ActionSearch, Meter, blocks_leading_to, check_frameskip
from lewm.surprise.overlay import annotated_video, check_annotated
from lewm.surprise.pictures import draw_surprise
from lewm.surprise.rates import expected_frames, rate_of
from lewm.surprise.strip import Strip
from lewm.surprise.trace import Detector, Event, SurpriseTrace
from lewm.surprise.video_pass import VideoPass
from lewm_data.seeds import check_seed
from lewm_data.video.action_files import Clip, read_actions
from lewm_data.video.placing import CROP
from lewm_data.video.sources import Source, open_source

NO_CLOCK = 10.0  # frames a second of an annotated video, where the frames have no clock
COLUMNS = ("frame", "time", "surprise", "windowed", "score", "p_value", "flagged")

OnProgress = Callable[[str, int, int | None], None]  # what is being done, frames done, and of how many if known


@dataclass(frozen=True)
class SurpriseRequest:
    """What `lewm surprise` asks for.

    Attributes:
        run: A run directory.
        source: A video, a folder of images, or an episode of a dataset ("data.h5#17").
        fps: Environment steps a second, the rate at which the video is read; when None, every frame is read.
        frameskip: Environment steps a model step; the run's when None.
        actions: A file of actions, "none", or None for the actions that the source itself has, if it has any.
        calibrate: Dataset of clean episodes; the run's held-out ones when None.
        alpha: Share of clean frames that are flagged: false alarms.
        seed: Seed of the search for actions.
        out_video: Where to write an annotated mp4.
    """

    run: Path
    source: str
    fps: float | None = None
    frameskip: int | None = None
    actions: str | None = None
    calibrate: Path | None = None
    alpha: float = 0.01
    seed: int = 0
    out_video: Path | None = None


@dataclass(frozen=True)
class SurpriseReport:
    """What happened in a video that the model did not expect.

    Attributes:
        source: The video.
        frames, scored, flagged: How many frames were read, have a score, and have a p-value of at most alpha.
        events: The events, in the order of time.
        actions: With which actions surprise was measured.
        fps, frameskip, alpha, seed: The settings that were used.
        unfamiliarity: Unfamiliarity of the first frames; above 1 they look unlike those of the run's data.
        calibration: What is normal: the `Basis` of the threshold, and the score above which frames are flagged.
        out_video: The annotated video.
        seconds: Seconds that reading and scoring took.
    """

    source: str
    frames: int
    scored: int
    flagged: int
    events: tuple[Event, ...]
    actions: str
    fps: float | None
    frameskip: int
    alpha: float
    seed: int
    unfamiliarity: float
    calibration: dict[str, Any]
    out_video: str | None
    seconds: float
    checkpoint_sha256: str
    versions: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def watch_video(
    request: SurpriseRequest, device: torch.device, on_progress: OnProgress = lambda what, done, total: None
) -> tuple[SurpriseReport, Path]:
    """Score every frame of a video; memory does not grow with its length.

    Returns:
        The report, and the JSON file in the run that it was written to. In a folder of the same name lie surprise.csv
        with a line for each frame, and surprise.png.

    Raises:
        LewmError: the run, the calibration data, the actions and the video do not fit together, or nothing can be
            written into the run or to the annotated video.
        DataError: the video, or the file of actions, cannot be read, or the seed does not fit in 64 bits.
        NotKeptError: the result is there, but it or what belongs to it could not be written.
    """
    check_seed(request.seed)
    check_alpha(request.alpha)
    if request.frameskip is not None:
        check_frameskip(request.frameskip)
    import_figure()
    if request.out_video is not None:
        check_annotated(request.out_video)
    run = open_run(request.run, device)
    with new_report(run.path, "surprise") as out:
        return _watch(request, run, out, on_progress), out


def _watch(request: SurpriseRequest, run: Run, out: Path, on_progress: OnProgress) -> SurpriseReport:
    model = run.model
    with open_source(request.source) as source, contextlib.ExitStack() as files:
        recorded = run.trained_on.recorded
        fps = request.fps or rate_of(source, recorded)
        actions, how, timed = _actions(request, model, source, recorded, fps or source.fps)
        read_at = fps or source.fps
        stop = len(actions) / read_at if timed and actions is not None and read_at else None
        frames, expected = source.frames(fps=fps, stop=stop), expected_frames(source, fps, stop)
        on_progress("calibrating", 0, None)
        reference, clean = reference_of(run, request.calibrate)
        calibration = calibrate(model, reference, actions is not None, request.seed)
        frameskip = request.frameskip or model.config.frameskip
        known = ActionSearch(reference.blocks, request.seed) if actions is None else blocks_leading_to(model, actions)
        detector = Detector(Meter(model, frameskip, known), calibration, request.alpha)
        basis = basis_of(run, clean, calibration, request.alpha)
        rate = fps or source.fps
        begun = time.perf_counter()
        size, fit = run.trained_on.frame_size, recorded.fit or CROP
        seen = VideoPass(detector, reference, size, fit, source.name, actions, timed)
        sinks = [Beside(files.enter_context(_csv(out.with_suffix("") / "surprise.csv")))]
        if request.out_video is not None:
            shown = annotated_video(
                request.out_video,
                rate or NO_CLOCK,
                Strip(detector.threshold, request.alpha, rate, expected),
            )
            sinks.append(Beside(files.enter_context(shown)))
        for pictures, trace in seen.pieces(frames):
            for sink in sinks:
                sink(pictures, trace)
            on_progress("watching", detector.meter.seen, expected)
        seen.finish()
        seconds = time.perf_counter() - begun
        report = SurpriseReport(
            source=request.source,
            frames=detector.meter.seen,
            scored=max(0, detector.meter.seen - detector.meter.warm_up),
            flagged=seen.flagged,
            events=tuple(seen.events),
            actions=how,
            fps=rate,
            frameskip=frameskip,
            alpha=request.alpha,
            seed=request.seed,
            unfamiliarity=seen.unfamiliarity,
            calibration={**basis.as_dict(), "flagged_above": detector.threshold},
            out_video=str(request.out_video.resolve()) if request.out_video else None,
            seconds=seconds,
            checkpoint_sha256=run.checkpoint_sha256,
            versions=versions(),
        )
        with keeping(out, report):
            files.close()
            for sink in sinks:
                sink.check()
            picture = out.with_suffix("") / "surprise.png"
            draw_surprise(picture, source.name, seen.curve, seen.peaks, seen.events, detector, how, rate)
    return report


def _actions(
    request: SurpriseRequest, model: WorldModel, source: Source, recorded: Recorded, fps: float | None
) -> tuple[Tensor | None, str, bool]:
    """The actions between the frames, and how they are known.

    Returns:
        The actions in environment units; words that say how surprise is measured; and whether they were recorded with
        times, so that the video may go on longer than they do, or end earlier.
    """
    if request.actions == "none" or (request.actions is None and source.actions is None):
        count = meter.CANDIDATES + meter.ROUNDS * meter.REFINED
        return None, f"unknown: the least surprise over {count} candidate actions a frame", False
    if request.frameskip not in (None, model.config.frameskip):
        raise LewmError(
            f"--frameskip {request.frameskip} with actions, which come {model.config.frameskip} a model step",
            "Leave --frameskip out, or use --actions none.",
        )
    timed = False
    if request.actions is None:
        assert source.actions is not None
        values, where = source.actions, "of the episode"
    else:
        clip = Clip(source.fps, source.count, source.duration)
        given = read_actions(request.actions, model.config.action_dim, fps, recorded.resample, clip)
        values, timed, where = given.values, given.timed, f"from {request.actions}"
    if values.shape[1] != model.config.action_dim:
        raise LewmError(
            f"{source.name}: actions of {values.shape[1]} dimensions, the run's have {model.config.action_dim}",
            "Use --actions none, or a run of that world.",
        )
    return torch.from_numpy(values).to(model.device), f"known: {where}", timed


@contextlib.contextmanager
def _csv(path: Path) -> Iterator[Callable[[list[np.ndarray], SurpriseTrace], None]]:
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(COLUMNS)

        def write(_: list[np.ndarray], trace: SurpriseTrace) -> None:
            columns = [getattr(trace, name).tolist() for name in COLUMNS]
            columns[-1] = [int(flag) for flag in columns[-1]]
            lines.writerows(zip(*columns, strict=True))

        yield write
