"""What the probes read: embeddings of the trained encoder, of a random one, and principal components of the pixels.

N frames, D feature width, P pixels of a shrunk frame.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, Int64
from torch import Tensor

from lewm import config as cfg
from lewm.checkpoints.run import read_tensors, save_tensors, weights_sha256
from lewm.datasets import fingerprint_of
from lewm.errors import LewmError
from lewm.files import caching, home
from lewm.model import build
from lewm.model.world_model import WorldModel
from lewm.probing.repeatable import seeded
from lewm.probing.sample import Sample
from lewm.provenance import versions
from lewm_data.store.dataset import Dataset

READ = 512  # frames read at a time
CALIBRATION_FRAMES = 2048  # frames that the random encoder's BatchNorm statistics are taken from
CALIBRATION_BATCH = 128
PIXELS_SIDE = 32  # frames are shrunk to this for their principal components
PIXELS_FRAMES = 4096  # frames of the train episodes that the components are fitted to
EMBEDDINGS = "embeddings"

OnShare = Callable[[float], None]  # share of the frames done


def settings() -> dict[str, Any]:
    """How the baselines are made, for the report."""
    return {
        "random_encoder": {"batchnorm_statistics_from_train_frames": CALIBRATION_FRAMES},
        "pixel_pca": {"side_at_most": PIXELS_SIDE, "fitted_to_train_frames_at_most": PIXELS_FRAMES},
    }


def embed(
    model: WorldModel, dataset: Dataset, rows: Int64[np.ndarray, " N"], on_share: OnShare
) -> Float32[np.ndarray, "N D"]:
    """The model's embeddings of the frames at `rows`, from `$LEWM_HOME/cache/embeddings` if they were made before.

    The name of a cached file depends on the weights, the dataset's fingerprint, the rows, the kind of device and the
    versions. A damaged file is made again. A file is there whole or not at all; a warning says where it cannot be
    written.
    """
    key = {
        "weights": weights_sha256(model),
        "dataset": fingerprint_of(dataset),
        "rows": hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest(),
        "device": model.device.type,
        **versions(),
    }
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    path = home() / "cache" / "embeddings" / f"{name}.safetensors"
    with contextlib.suppress(LewmError):  # not there, or damaged
        return read_tensors(path)[EMBEDDINGS].numpy()
    latents = np.empty((len(rows), model.config.latent), np.float32)
    with torch.inference_mode():
        for some, frames in _frames(dataset, rows):
            latents[some] = model.embed(frames).float().cpu().numpy()
            on_share(some.stop / len(rows))
    with caching(path):
        save_tensors(path, {EMBEDDINGS: torch.from_numpy(latents)}, key)
    return latents


def random_encoder(config: cfg.Model, dataset: Dataset, sample: Sample, seed: int) -> WorldModel:
    """A model that was never trained, in eval mode on the CPU, with BatchNorm statistics of the train frames.

    Otherwise made-up statistics would normalise it, which training corrects even where it learns nothing.
    """
    with seeded(seed):
        model = build(config)
    rows = np.random.default_rng(seed).permutation(sample.rows[sample.train])[:CALIBRATION_FRAMES]
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.momentum = None  # the mean over all batches
            module.training = True  # a frozen encoder's too: it is as random here
    with torch.no_grad():
        for some in np.array_split(rows, -(-len(rows) // CALIBRATION_BATCH)):
            model.encode(torch.from_numpy(dataset.frames(some))[None])
    return model.eval()


def pixel_components(
    dataset: Dataset, sample: Sample, count: int, seed: int, on_share: OnShare
) -> Float32[np.ndarray, "N D"]:
    """The first `count` principal components of the frames, shrunk to at most PIXELS_SIDE a side by averaging areas.

    They are fitted to at most PIXELS_FRAMES frames of the train episodes, by a randomised decomposition.
    """
    rows = np.random.default_rng(seed).permutation(sample.rows[sample.train])[:PIXELS_FRAMES]
    fitted_to = torch.cat([_shrink(frames) for _, frames in _frames(dataset, rows)])  # (n, P)
    mean = fitted_to.mean(dim=0)
    count = min(count, *fitted_to.shape)
    with seeded(seed):
        _, _, axes = torch.svd_lowrank(fitted_to - mean, q=min(2 * count, *fitted_to.shape), niter=4)
    components = np.empty((len(sample.rows), count), np.float32)
    for some, frames in _frames(dataset, sample.rows):
        components[some] = ((_shrink(frames) - mean) @ axes[:, :count]).numpy()
        on_share(some.stop / len(components))
    return components


def _shrink(frames: Tensor) -> Float32[Tensor, "N P"]:
    pixels = frames.permute(0, 3, 1, 2).float() / 255
    height, width = (min(PIXELS_SIDE, side) for side in pixels.shape[-2:])
    return F.adaptive_avg_pool2d(pixels, (height, width)).flatten(1)


def _frames(dataset: Dataset, rows: Int64[np.ndarray, " N"]) -> Iterator[tuple[slice, Tensor]]:
    for first in range(0, len(rows), READ):
        some = slice(first, min(first + READ, len(rows)))
        yield some, torch.from_numpy(dataset.frames(rows[some]))
