"""The work of `lewm decode`: makes pictures of what the latent space of a run holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64

from lewm import locks
from lewm.checkpoints import run as runs
from lewm.decoding.decoder import Decoder, DecoderSettings
from lewm.decoding.decoder_file import DECODER, load_decoder, save_decoder
from lewm.decoding.open_loop import OpenLoop, StepError, long_enough, open_loops, step_errors
from lewm.decoding.pictures import Shown, draw_reconstructions, draw_rollout, film_rollout
from lewm.decoding.training import (
    Examples,
    Fidelity,
    draw_rows,
    encode_rows,
    measure_fidelity,
    shown_size,
    train_decoder,
)
from lewm.errors import LewmError
from lewm.figures import import_figure
from lewm.held_out import held_out
from lewm.model.world_model import WorldModel
from lewm.opened_run import Run, open_run
from lewm.provenance import versions
from lewm.report_files import Beside, keeping, new_report
from lewm_data.seeds import check_seed
from lewm_data.store.dataset import Dataset
from lewm_data.video.video_writer import import_encoder

MEASURED_FRAMES = 512  # held-out frames that the error is measured on
MEASURED_EPISODES = 64  # held-out episodes that the rollout's error is averaged over
SHOWN_FRAMES = 16
SHOWN_EPISODES = 3

OnProgress = Callable[[float], None]  # share of the decoder's training that is done; not called where it is loaded


@dataclass(frozen=True)
class DecodeRequest:
    """What `lewm decode` asks for.

    Attributes:
        run: A run directory.
        data: Where the dataset it was trained on is now; where it was then when None.
        steps: Steps of the decoder's training. A decoder that the run already has is used if it was trained for as
            many; when None, for any number.
        episode: Held-out episode to roll out; a few drawn by `seed` when None.
        seed: Seed of the decoder's training and of what is shown.
        retrain: Train the decoder again even if the run has one.
    """

    run: Path
    data: Path | None = None
    steps: int | None = None
    episode: int | None = None
    seed: int = 0
    retrain: bool = False


@dataclass(frozen=True)
class DecodeReport:
    """The result of `decode_run`.

    Attributes:
        fidelity: How far to trust the pictures.
        open_loop: Error of predictions from the first frames and recorded actions alone, by step.
        episodes: Held-out episodes that are shown.
        frame_size: Y and X of decoded frames.
        decoder: The decoder's settings.
        trained: Whether the decoder was trained now; False when the run had it.
        held_out: Whether the model's training held out the frames and episodes that are shown and measured. This
            is not known where the run was imported: only the decoder's training did not see them.
    """

    fidelity: Fidelity
    open_loop: tuple[StepError, ...]
    episodes: tuple[int, ...]
    frame_size: tuple[int, int]
    decoder: DecoderSettings
    trained: bool
    held_out: bool
    checkpoint_sha256: str
    dataset_fingerprint: str
    versions: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def decode_run(
    request: DecodeRequest, device: torch.device, on_progress: OnProgress = lambda share: None
) -> tuple[DecodeReport, Path]:
    """Train a decoder on the run's latents, unless it has one, and show held-out episodes with it.

    Returns:
        The report, and the JSON file in the run it was written to. Beside it, in a folder of the same name, lie
        reconstructions.png, rollout.png and rollout.mp4.

    Raises:
        DataError: the seed does not fit in 64 bits.
        LewmError: the run or its dataset is missing, they do not belong together, the episode was not held out, or
            nothing can be written into the run.
        NotKeptError: the result is there, but it, its pictures or the decoder could not be written.
    """
    check_seed(request.seed)
    import_encoder("mp4")  # before the work, not after
    import_figure()
    run = open_run(request.run, device)
    with new_report(run.path, "decode") as out:
        return _decode(request, run, out, on_progress), out


def _decode(request: DecodeRequest, run: Run, out: Path, on_progress: OnProgress) -> DecodeReport:
    if (run.path / DECODER).is_dir():
        raise LewmError(f"{run.path / DECODER}: a folder, where the decoder is kept", "Move it away.")
    store = Beside(save_decoder)
    model = run.model
    with run.data(request.data) as data:
        data.check_in_training("Give --data the dataset as it was in training.")
        dataset = data.dataset
        measured, shown = _choose(request, dataset, data.unseen, model)
        decoder = _existing(request, run)
        trained = decoder is None
        if decoder is None:
            settings = replace(DecoderSettings(), seed=request.seed, steps=request.steps or DecoderSettings.steps)
            size = shown_size(dataset.frame_size, settings.longest_side)
            rows = draw_rows(dataset, data.seen, settings.frames, request.seed)
            with locks.writing(run.path):
                if not runs.holds_weights(run.path, model):
                    raise LewmError(f"{run.path}: was trained further meanwhile", "Give the same command again.")
                decoder = train_decoder(encode_rows(model, dataset, rows, size), settings, on_progress)
                store(run.path, decoder)
        rows = draw_rows(dataset, data.unseen, MEASURED_FRAMES, request.seed)
        examples = encode_rows(model, dataset, rows, decoder.frame_size)
        loops = open_loops(model, dataset, sorted({*measured, *shown}), decoder.frame_size)
    report = DecodeReport(
        fidelity=measure_fidelity(decoder, examples),
        open_loop=step_errors([loops[episode] for episode in measured]),
        episodes=shown,
        frame_size=decoder.frame_size,
        decoder=decoder.settings,
        trained=trained,
        held_out=run.holds_out,
        checkpoint_sha256=run.checkpoint_sha256,
        dataset_fingerprint=run.trained_on.fingerprint,
        versions=versions(),
    )
    with keeping(out, report):
        store.check()
        _draw(out.with_suffix(""), decoder, examples, [loops[episode] for episode in shown], report)
    return report


def _choose(
    request: DecodeRequest, dataset: Dataset, unseen: Int64[np.ndarray, " E"], model: WorldModel
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Held-out episodes to measure the rollout on, and held-out episodes to show."""
    usable = long_enough(dataset, unseen, model)
    if not len(usable):
        raise LewmError(
            f"{dataset.path}: no episode that is kept from the decoder is longer than the {model.history} x "
            f"{model.config.frameskip} steps that the model is given",
            "Collect longer episodes, and train on them.",
        )
    drawn = np.random.default_rng([request.seed, len(usable)]).permutation(usable).tolist()
    if request.episode is None:
        return tuple(drawn[:MEASURED_EPISODES]), tuple(drawn[:SHOWN_EPISODES])
    if request.episode not in usable:
        some = ", ".join(map(str, usable[:8])) + ", ..." * (len(usable) > 8)
        raise LewmError(
            f"{dataset.path}: episode {request.episode} is not one of those kept from the decoder, or not long enough",
            f"Give --episode one of these: {some}",
        )
    return tuple(drawn[:MEASURED_EPISODES]), (request.episode,)


def _existing(request: DecodeRequest, run: Run) -> Decoder | None:
    """The run's decoder, if it will do."""
    if request.retrain:
        return None
    try:
        decoder = load_decoder(run.path, run.device)
    except LewmError:  # there is none for these weights: one is made from the run
        return None
    return decoder if request.steps in (None, decoder.settings.steps) else None


def _draw(directory: Path, decoder: Decoder, examples: Examples, loops: list[OpenLoop], report: DecodeReport) -> None:
    every = max(1, len(examples.frames) // SHOWN_FRAMES)
    latents, frames = examples.latents[::every][:SHOWN_FRAMES], examples.frames[::every][:SHOWN_FRAMES]
    draw_reconstructions(
        directory / "reconstructions.png",
        frames.cpu().numpy(),
        decoder.frames(latents),
        report.fidelity,
        held_out("frames", report.held_out),
    )
    episodes = [
        Shown(
            loop.episode,
            loop.context,
            loop.frames.cpu().numpy(),
            decoder.frames(loop.latents),
            decoder.frames(loop.predicted),
        )
        for loop in loops
    ]
    draw_rollout(directory / "rollout.png", episodes, report.open_loop, held_out("episodes", report.held_out))
    film_rollout(directory / "rollout.mp4", episodes)
