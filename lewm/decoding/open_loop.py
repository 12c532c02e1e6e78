"""What the model expects from the first frames and the actions of a recorded episode, beside what happened.

E episodes, F of which are long enough, T frames a block apart, the first L of which are given, D latent width, H blocks
predicted, A action-block width, Y and X the sides of a frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lewm.decoding.training import encode_rows
from lewm.model.world_model import WorldModel
from lewm_data.store.dataset import Dataset
from lewm_data.store.schema import ACTION


@dataclass(frozen=True)
class OpenLoop:
    """One episode, every `frameskip`-th frame.

    Attributes:
        episode: Its number in the dataset.
        context: Frames that the model was given; what follows is predicted from them and the recorded actions alone.
        frames: What happened, at the size of decoded frames.
        latents: Latents of those frames.
        predicted: The latents of the frames in the context, and predicted ones after it.
    """

    episode: int
    context: int
    frames: UInt8[Tensor, "T Y X 3"]
    latents: Float[Tensor, "T D"]
    predicted: Float[Tensor, "T D"]


@dataclass(frozen=True)
class StepError:
    """Mean distance in latent space after some blocks without looking.

    Attributes:
        blocks: Blocks since the last frame that was given.
        episodes: Number of episodes that last so long.
        rollout: Distance between the prediction and what happened.
        still: Distance between the last frame given and what happened: the error of "nothing moves".
    """

    blocks: int
    episodes: int
    rollout: float
    still: float


def long_enough(dataset: Dataset, episodes: Int64[np.ndarray, " E"], model: WorldModel) -> Int64[np.ndarray, " F"]:
    """The episodes in which there is something to predict after the context."""
    return episodes[dataset.lengths[episodes] > model.history * model.config.frameskip]


@torch.inference_mode()
def open_loops(
    model: WorldModel, dataset: Dataset, episodes: Sequence[int], size: tuple[int, int]
) -> dict[int, OpenLoop]:
    """Roll the model out over whole episodes that are `long_enough`, all of them together.

    Args:
        size: Y and X of the frames that are returned.
    """
    skip, past = model.config.frameskip, model.history - 1
    rows = [dataset.rows(np.array([episode]))[::skip] for episode in episodes]  # E x (T,)
    lengths = [len(of_one) for of_one in rows]
    seen = encode_rows(model, dataset, np.concatenate(rows), size)
    latents, frames = seen.latents.split(lengths), seen.frames.split(lengths)
    actions = [dataset.column(ACTION, np.array([episode])).astype(np.float32) for episode in episodes]
    blocks = [
        torch.from_numpy(of_one[: (T - 1) * skip].reshape(T - 1, -1)).to(model.device)
        for of_one, T in zip(actions, lengths, strict=True)
    ]
    # The padding comes after an episode's end, where no prediction that is kept sees it.
    padded = model.normalize_actions(pad_sequence(blocks, batch_first=True))  # (E, T-1, A)
    context = torch.stack([of_one[: model.history] for of_one in latents])  # (E, L, D)
    predicted = model.rollout(context, padded[:, None, past:], padded[:, :past])[:, 0]  # (E, H, D)
    whole = torch.cat([context, predicted], dim=1).float()
    return {
        episode: OpenLoop(episode, model.history, frames[i], latents[i], whole[i, : lengths[i]])
        for i, episode in enumerate(episodes)
    }


def step_errors(loops: Sequence[OpenLoop]) -> tuple[StepError, ...]:
    """Errors after 1, 2, ... blocks, each the mean over the episodes that last so long."""
    rollout = [(loop.predicted - loop.latents)[loop.context :].norm(dim=-1).tolist() for loop in loops]
    still = [(loop.latents[loop.context :] - loop.latents[loop.context - 1]).norm(dim=-1).tolist() for loop in loops]
    errors = []
    for step in range(max(map(len, rollout))):
        lasting = [i for i, distances in enumerate(rollout) if step < len(distances)]
        means = (float(np.mean([distances[i][step] for i in lasting])) for distances in (rollout, still))
        errors.append(StepError(step + 1, len(lasting), *means))
    return tuple(errors)
