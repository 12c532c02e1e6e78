"""What learning on the frozen latents of a run begins from: the locked run, its data, and latents of its episodes.

E episodes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64

from lewm import locks
from lewm.checkpoints import run as runs
from lewm.episode_latents import EpisodeLatents, encode_episodes
from lewm.errors import LewmError
from lewm.files import check_output
from lewm.model.world_model import WorldModel
from lewm.opened_run import Run, RunData, open_run
from lewm.report_files import new_report
from lewm_data.seeds import check_seed
from lewm_data.store.dataset import Dataset

HELD_OUT_FRAMES = 20_000  # at most so many frames of the held-out episodes

OnProgress = Callable[[str, float], None]  # what is done now, and which share of it is done


class LastEncoded:
    """Encodes episodes, and keeps the latents of the last encoder, for what is learnt on them next."""

    def __init__(self) -> None:
        self._of: tuple[str, ...] = ()  # which encoder, data and device the latents are of
        self._kept: dict[bytes, EpisodeLatents] = {}  # by the numbers of the episodes

    def __call__(
        self, model: WorldModel, dataset: Dataset, episodes: Int64[np.ndarray, " E"], on_share: Callable[[float], None]
    ) -> EpisodeLatents:
        """The latents as `encode_episodes` gives them. They are shared, so nobody may change them."""
        of = (_encoder(model), dataset.fingerprint(), str(model.device))
        if of != self._of:
            self._of, self._kept = of, {}  # first, so that the memory of the others is free
        key = episodes.tobytes()
        if key not in self._kept:
            self._kept[key] = encode_episodes(model, dataset, episodes, on_share)
        return self._kept[key]


def _encoder(model: WorldModel) -> str:
    """A digest of all that latents depend on."""
    found = hashlib.sha256(model.config.model_dump_json(exclude={"predictor", "action_embedder"}).encode())
    for part in (model.encoder, model.projector):
        for name, tensor in part.state_dict().items():
            found.update(name.encode() + tensor.contiguous().cpu().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


@contextmanager
def opened(
    directory: Path, data_path: Path | None, seed: int, device: torch.device, name: str, kind: str
) -> Iterator[tuple[Run, RunData, Path]]:
    """The run, locked, with the data of its training, and the path of the report."""
    check_seed(seed)
    run = open_run(directory, device)
    check_output(run.path / name, "Move it away, or copy the run to a folder that you can write to.")
    with new_report(run.path, kind) as out, run.data(data_path) as data, locks.writing(run.path):
        data.check_in_training("Give --data the dataset as it was in training.")
        if not runs.holds_weights(run.path, run.model):
            raise LewmError(f"{run.path}: was trained further meanwhile", "Give the same command again.")
        yield run, data, out


def latents_of(
    model: WorldModel,
    data: RunData,
    seed: int,
    frames: int | None,
    asked: int | None,
    on_progress: OnProgress,
    encode: LastEncoded | None = None,
) -> tuple[EpisodeLatents, EpisodeLatents, int, int]:
    """Latents of episodes that training saw, and of others that it held out; of both the most steps between moments.

    Args:
        model: The world model.
        data: The data of its training.
        seed: Seed of the choice of episodes.
        frames: At most so many frames of the episodes that training saw; all when None.
        asked: The most steps that were asked for; those of the longest episode when None.
        on_progress: Called while episodes are encoded.
        encode: Gives the latents of episodes; it may have them already. When None, they are encoded.

    Raises:
        LewmError: no held-out episode has a whole block, or none has as many steps as are asked for.
    """
    dataset = data.dataset
    frameskip = model.config.frameskip
    seen = _some(dataset, data.seen, frameskip, frames, seed)
    unseen = _some(dataset, data.unseen, frameskip, HELD_OUT_FRAMES, seed)
    longest = _longest(dataset, frameskip, asked, seen, unseen)
    encoded = encode or encode_episodes
    return (
        encoded(model, dataset, seen, lambda share: on_progress("encoding episodes", share)),
        encoded(model, dataset, unseen, lambda share: on_progress("encoding held-out episodes", share)),
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
