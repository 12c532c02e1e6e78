"""The reference of a run, which says what is normal: clean episodes as latents and actions, and small training frames.

It is kept in the run, so that a run alone, without its dataset, can say what surprises it.

N frames of all clean episodes, E clean episodes, D latent width, a action width of one step, A action-block width, K
blocks, M training frames, P values of a thumbnail, R clean frames compared with them.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor

from lewm import locks
from lewm.checkpoints import run as runs
from lewm.checkpoints.faults import refuse_not_finite
from lewm.config import Config, Model
from lewm.episode_split import split
from lewm.errors import LewmError
from lewm.files import sha256
from lewm.model.world_model import WorldModel
from lewm.opened_run import Run
from lewm.surprise.familiarity import THUMBNAIL, nearest_distance, thumbnails
from lewm_data.store.dataset import Dataset
from lewm_data.store.schema import ACTION

log = logging.getLogger(__name__)

FILE = "reference.safetensors"
# The most clean frames that are used. A rate of 1 in 1000 needs 999 episodes, and they are that many in the shortest
# pieces of long ones, where three latents are the context and a block has five steps.
CLEAN_FRAMES = 30_000
CONTEXTS = 2  # the shortest piece of a long episode, in contexts of a prediction: half of it has its context whole
BLOCKS = 4096
THUMBNAILS = 2048


@dataclass(frozen=True)
class Reference:
    """Clean episodes, which training did not see, and a sample of what training saw.

    For an imported run, whose training saw nobody knows what, they are parts of the data that it was given.

    Attributes:
        latents: Latents of the frames of the clean episodes, one episode after the other.
        actions: `actions[t]` leads from frame t to the next, in environment units; unused after the last one.
        lengths: Number of frames of each clean episode.
        blocks: Action blocks of the training episodes, normalised, in random order.
        thumbnails: Training frames, made small.
        distances: Distances of clean frames from the nearest thumbnail, ascending.
    """

    latents: Float[Tensor, "N D"]
    actions: Float[Tensor, "N a"]
    lengths: Int64[Tensor, " E"]
    blocks: Float[Tensor, "K A"]
    thumbnails: UInt8[Tensor, "M P"]
    distances: Float[Tensor, " R"]

    def episodes(self) -> list[tuple[Float[Tensor, "_ D"], Float[Tensor, "_ a"]]]:
        """Latents and actions of each clean episode."""
        lengths = self.lengths.tolist()
        pairs = zip(self.latents.split(lengths), self.actions.split(lengths), strict=True)
        return [(latents, actions[:-1]) for latents, actions in pairs]

    def has_room(self, model: WorldModel) -> bool:
        """Whether more clean episodes would be used if there were more: with shorter pieces, or beside these."""
        shortest = shortest_piece(model.history, model.config.frameskip)
        return int(self.lengths.max()) > shortest or int(self.lengths.sum()) + shortest <= CLEAN_FRAMES

    def on(self, device: torch.device) -> Reference:
        """The reference with its tensors on a device."""
        moved = {field.name: getattr(self, field.name).to(device) for field in dataclasses.fields(self)}
        return Reference(**moved)


def of_run(run: Run) -> Reference:
    """The run's own reference: read from the run, or made from its dataset and kept there.

    Raises:
        LewmError: There is no valid one in the run, and the dataset is not there or has changed.
    """
    kept = stored(run)
    if kept is not None:
        return kept.on(run.device)
    remedy = "Say what is normal with --calibrate DATASET.h5."
    if not Path(run.trained_on.path).is_file():
        raise LewmError(
            f"{run.path}: no {FILE} for its weights that was made as it would be now, and its dataset "
            f"{run.trained_on.path} is not there",
            remedy,
        )
    with run.data(option="--calibrate") as data:
        data.check_in_training(remedy)
        reference = of_training(run.model, run.config, data.dataset)
    _keep_unless_trained(run, reference)
    return reference


def _keep_unless_trained(run: Run, reference: Reference) -> None:
    """Keep a reference for next time, unless the run is being trained, has other weights by now or is read-only."""
    try:
        with locks.writing(run.path):
            if runs.holds_weights(run.path, run.model):
                keep(run.path, reference)
    except (LewmError, OSError) as error:
        log.info("%s; what is normal is not kept in the run", str(error).splitlines()[0])


def stored(run: Run) -> Reference | None:
    """The reference that the run holds, if it is whole and as it would be made now: of these weights, in this way."""
    path = run.path / FILE
    if not path.is_file():
        return None
    try:
        tensors, metadata = runs.read_with_metadata(path)
        refuse_not_finite(path, tensors, "It is made again.")
        _check_tensors(path, tensors, run.config.model)
        return Reference(**tensors) if metadata.items() >= _made_of(run.path).items() else None
    except (LewmError, OSError) as error:  # it can be made again
        log.warning("%s. It is made again.", str(error).splitlines()[0])
        return None


def _check_tensors(path: Path, tensors: Mapping[str, Tensor], model: Model) -> None:
    """Raises a LewmError unless the tensors are those of a `Reference` for such a model."""
    rows: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {
        "latents": (torch.float32, (model.latent,)),
        "actions": (torch.float32, (model.action_dim,)),
        "lengths": (torch.int64, ()),
        "blocks": (torch.float32, (model.action_block,)),
        "thumbnails": (torch.uint8, (3 * THUMBNAIL**2,)),
        "distances": (torch.float32, ()),
    }
    odd = sorted(set(tensors) ^ set(rows)) or [name for name, row in rows.items() if not _has_rows(tensors[name], *row)]
    if odd:
        raise LewmError(f"{path}: {', '.join(odd)}: not the tensors of a reference", "It is made again.")
    lengths = tensors["lengths"].tolist()
    if min(lengths) < 1 or not sum(lengths) == len(tensors["latents"]) == len(tensors["actions"]):
        raise LewmError(f"{path}: its episodes have not the frames that lengths states", "It is made again.")


def _has_rows(tensor: Tensor, dtype: torch.dtype, shape: tuple[int, ...]) -> bool:
    return tensor.dtype == dtype and tensor.ndim > 0 and len(tensor) > 0 and tensor.shape[1:] == shape


def _made_of(run: Path) -> dict[str, str]:
    """What a reference of the run depends on, beside its configuration and data: it is valid while that is the same."""
    way = {"clean_frames": CLEAN_FRAMES, "contexts": CONTEXTS, "blocks": BLOCKS, "thumbnails": THUMBNAILS}
    return {"checkpoint_sha256": sha256(run / runs.MODEL), "made_with": json.dumps(way)}


def keep(run: Path, reference: Reference) -> None:
    """Writes the reference into the run, for the weights it has now; the run's lock is held."""
    tensors = {field.name: getattr(reference, field.name) for field in dataclasses.fields(reference)}
    runs.save_tensors(run / FILE, tensors, _made_of(run))


def of_training(model: WorldModel, config: Config, dataset: Dataset) -> Reference:
    """What is normal according to the dataset that `model` was trained on: its held-out episodes are the clean ones."""
    seen, unseen = split(config.training, dataset.num_episodes)
    return build(model, dataset, clean=unseen, seen=seen, seed=config.training.seed)


def shortest_piece(history: int, frameskip: int) -> int:
    """The fewest frames of a longer episode that are used, however many clean episodes there are."""
    return CONTEXTS * history * frameskip


@torch.inference_mode()
def build(
    model: WorldModel,
    dataset: Dataset,
    clean: Int64[np.ndarray, " C"],
    seen: Int64[np.ndarray, " S"],
    seed: int,
) -> Reference:
    """A reference from episodes of a dataset.

    Args:
        model: The world model, in eval mode.
        clean: Episodes that are normal and were not trained on. No more than `CLEAN_FRAMES` are used, and of long
            episodes a random piece, the shorter the more episodes there are, because frames of one episode are too
            much alike to stand for others.
        seen: Episodes that actions and thumbnails are taken from.
        seed: Seed of the choice of episodes, actions and frames where there are too many.

    Raises:
        LewmError: No episode is longer than one action block.
    """
    rng = np.random.default_rng([seed, dataset.num_episodes])
    order = rng.permutation(clean)
    longest = max(shortest_piece(model.history, model.config.frameskip), CLEAN_FRAMES // len(clean))
    lengths = np.minimum(dataset.lengths, longest)
    used = int(np.searchsorted(np.cumsum(lengths[order]), CLEAN_FRAMES, side="right"))
    chosen = np.sort(order[: max(1, used)])
    lengths = lengths[chosen]
    begins = np.random.default_rng([seed, dataset.num_episodes, 1]).integers(dataset.lengths[chosen] - lengths + 1)
    rows_of = [
        dataset.offsets[episode] + begin + np.arange(length)
        for episode, begin, length in zip(chosen, begins, lengths, strict=True)
    ]
    latents, pictures = [], []
    for piece in rows_of:
        frames = torch.from_numpy(dataset.frames(piece))
        latents.append(model.embed(frames).float())
        pictures.append(thumbnails(frames))
    rows = rng.permutation(dataset.rows(seen))[:THUMBNAILS]
    looks = thumbnails(torch.from_numpy(dataset.frames(np.sort(rows))))
    some = torch.cat(pictures)[torch.from_numpy(rng.permutation(sum(map(len, pictures)))[:THUMBNAILS])]
    actions = np.nan_to_num(dataset.column(ACTION)[np.concatenate(rows_of)].astype(np.float32))
    device = model.device
    return Reference(
        latents=torch.cat(latents),
        actions=torch.from_numpy(actions).to(device),
        lengths=torch.from_numpy(lengths).to(device),
        blocks=model.normalize_actions(torch.from_numpy(_blocks(model, dataset, seen, rng)).to(device)),
        thumbnails=looks.to(device),
        distances=nearest_distance(some, looks).sort().values.to(device),
    )


def _blocks(
    model: WorldModel, dataset: Dataset, episodes: Int64[np.ndarray, " S"], rng: np.random.Generator
) -> Float32[np.ndarray, "K A"]:
    frameskip = model.config.frameskip
    actions = dataset.column(ACTION)
    starts = np.concatenate(
        [dataset.offsets[e] + np.arange(max(0, dataset.lengths[e] - frameskip)) for e in episodes.tolist()]
    )
    if not len(starts):
        raise LewmError(
            f"{dataset.path}: no episode has the {frameskip} actions of one block",
            "Use data with longer episodes.",
        )
    chosen = rng.permutation(starts)[:BLOCKS]
    blocks: np.ndarray = actions[chosen[:, None] + np.arange(frameskip)].reshape(len(chosen), -1).astype(np.float32)
    return blocks
