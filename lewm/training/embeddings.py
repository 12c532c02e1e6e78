"""embeddings.json: the distribution of the embeddings of held-out frames, measured once at the end of training."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64

from lewm.checkpoints import run
from lewm.config import Config
from lewm.episode_split import split
from lewm.errors import LewmError
from lewm.files import sha256
from lewm.measures.embeddings import Embeddings, measure_embeddings
from lewm.model.world_model import WorldModel
from lewm.report_files import read_report, write_report
from lewm_data.store.dataset import Dataset

log = logging.getLogger(__name__)

FILE = "embeddings.json"
FORMAT = 1  # of the file, and of the choice of frames
FRAMES = 512  # where there are fewer held-out episodes, several frames of each are taken, to be about as many
MOST_FRAMES = 1024
MOST_NUMBERS = 2**26  # of all embeddings together: 256 MiB


@dataclass(frozen=True)
class KeptEmbeddings:
    """What embeddings.json holds.

    Attributes:
        embeddings: The statistics.
        checkpoint_sha256: Digest of the run's weights that they are of.
    """

    embeddings: Embeddings
    checkpoint_sha256: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"format": FORMAT, **self.embeddings.as_dict(), "checkpoint_sha256": self.checkpoint_sha256}


def stored(directory: Path) -> bool:
    """Whether the run holds the statistics of the weights that it has now."""
    if not (directory / FILE).is_file():
        return False
    try:
        content = read_report(directory / FILE)
    except LewmError as error:  # it can be made again
        log.warning("%s. It is made again.", error.problem)
        return False
    is_of_now = content.get("checkpoint_sha256") == sha256(directory / run.MODEL)
    return is_of_now and content.get("format") == FORMAT


def keep(directory: Path, embeddings: Embeddings) -> None:
    """Writes the statistics into the run, for the weights it has now; the run's lock is held."""
    write_report(directory / FILE, KeptEmbeddings(embeddings, sha256(directory / run.MODEL)))


@torch.inference_mode()
def of_training(model: WorldModel, config: Config, dataset: Dataset) -> Embeddings:
    """The statistics of held-out frames, which `model`, in eval mode, was not trained on."""
    training = config.training
    _, episodes = split(training, dataset.num_episodes)
    most = max(2, min(MOST_FRAMES, MOST_NUMBERS // config.model.latent))
    rows, of = draw_frames(dataset.offsets, dataset.lengths, episodes, most, training.seed)
    latents = model.embed(torch.from_numpy(dataset.frames(rows))).float().cpu().numpy()
    return measure_embeddings(latents, of, training.seed)


def draw_frames(
    offsets: Int64[np.ndarray, " A"],
    lengths: Int64[np.ndarray, " A"],
    episodes: Int64[np.ndarray, " E"],
    most: int,
    seed: int,
) -> tuple[Int64[np.ndarray, " N"], Int64[np.ndarray, " N"]]:
    """Ascending rows of random frames, and the episode of each.

    Every episode gives one frame or, where there are fewer than `FRAMES` episodes, as many as it takes to come to
    `FRAMES`, and no more than it has.

    Args:
        offsets, lengths: First row and number of rows of each of the dataset's A episodes.
        episodes: The episodes to draw from.
        most: The most frames; where there are more episodes, as many random ones give a frame each.
        seed: Seed of the choice.
    """
    generator = np.random.default_rng([seed, len(offsets), len(episodes)])
    chosen = np.sort(generator.permutation(episodes)[:most])
    each = max(1, min(-(-FRAMES // len(chosen)), most // len(chosen)))
    steps = [generator.permutation(lengths[episode])[:each] for episode in chosen.tolist()]
    rows = [offsets[episode] + np.sort(some) for episode, some in zip(chosen.tolist(), steps, strict=True)]
    return np.concatenate(rows), np.repeat(chosen, [len(some) for some in rows])
