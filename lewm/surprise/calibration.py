"""Makes p-values of surprise by split-conformal ranking among clean episodes.

T frames of an episode, n clean frames that a frame is ranked among, N those and one place more.

All clean episodes count alike, whatever their lengths: it is episodes that new ones are like, not frames. So a frame of
a long one counts less.

Both the instant and a short window are scored: a teleport shows in the first, a slow fault in the second. Each score is
divided by its high quantile on the clean frames, and the larger of the two is ranked. So the p-value is right although
there are two scores (apart from the weight of one frame in those quantiles).
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64

from lewm.checkpoints.run import read_tensors, save_tensors, weights_sha256
from lewm.errors import LewmError
from lewm.files import caching, home
from lewm.model.world_model import WorldModel
from lewm.provenance import versions
from lewm.surprise.meter import CANDIDATES, ELITES, REFINED, ROUNDS, ActionSearch, Meter, blocks_leading_to
from lewm.surprise.reference import CLEAN_FRAMES, Reference

WINDOW = 3  # model steps
QUANTILE = 0.99  # the quantile of clean scores that is the unit of the instant and of the window


@dataclass(frozen=True)
class Calibration:
    """How surprising clean frames are.

    Attributes:
        instant, window: The 99 % quantile of each score.
        clean: Combined scores, ascending.
        episode: The clean episode that each is from, counted from 0.
    """

    instant: float
    window: float
    clean: Float64[np.ndarray, " n"]
    episode: Int64[np.ndarray, " n"]

    @property
    def episodes(self) -> int:
        """How many clean episodes there are."""
        return len(np.unique(self.episode))

    @functools.cached_property
    def weight(self) -> Float64[np.ndarray, " n"]:
        """What each clean frame counts: every episode the same in all, and a frame 1 on average."""
        lengths = np.bincount(self.episode)[self.episode]
        return np.asarray(len(self.clean) / (self.episodes * lengths))

    @functools.cached_property
    def _p_values(self) -> Float64[np.ndarray, " N"]:
        """The p-value of a score above the first clean ones, by how many these are."""
        above = np.append(np.cumsum(self.weight[::-1])[::-1], 0.0)
        return (1 + above) / (1 + len(self.clean))

    def combined(
        self, surprise: Float64[np.ndarray, " T"], windowed: Float64[np.ndarray, " T"]
    ) -> Float64[np.ndarray, " T"]:
        """The larger of the two scores, each in its own unit; NaN where there is no score."""
        return np.maximum(surprise / self.instant, windowed / self.window)

    def p_value(self, combined: Float64[np.ndarray, " T"]) -> Float64[np.ndarray, " T"]:
        """Weighted share of clean frames that are at least as surprising, the frame itself included; NaN without score.

        Source: Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", split-conformal p-values.
        Differs: the frames are weighted, see `lewm.surprise.basis`. Where episodes are of equal length, it is the same.
        """
        smaller = np.searchsorted(self.clean, combined, side="left")
        return np.where(np.isnan(combined), np.nan, self._p_values[smaller])

    def flags(self, surprise: Float64[np.ndarray, " T"], frameskip: int, alpha: float) -> Bool[np.ndarray, " T"]:
        """Which frames of a whole video have a p-value of at most `alpha`."""
        p_values = self.p_value(self.combined(surprise, windowed(surprise, frameskip)))
        return np.asarray(np.nan_to_num(p_values, nan=1.0) <= alpha)

    def threshold(self, alpha: float) -> float:
        """The combined score above which a frame's p-value is at most `alpha`.

        Raises:
            LewmError: `alpha` is not between 0 and 1, or so small that no frame could ever be flagged.
        """
        check_alpha(alpha)
        if self._p_values[-1] > alpha:
            needed = np.ceil(1 / alpha) - 1
            raise LewmError(
                f"{len(self.clean)} clean frames to calibrate with, alpha {alpha:g} needs {needed:.12g}",
                "Give --calibrate a dataset with more clean episodes, or a larger --alpha."
                if needed <= CLEAN_FRAMES
                else f"Give a larger --alpha: {CLEAN_FRAMES:,} clean frames are the most that are used.",
            )
        usual = int(np.count_nonzero(self._p_values > alpha))
        return float(self.clean[max(usual - 1, 0)])  # the sum of weights may be too small by a rounding


def check_alpha(alpha: float) -> None:
    """Raises unless `alpha` can be a share of false alarms.

    Raises:
        LewmError: It is not between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise LewmError(f"alpha is {alpha}, expected above 0 and below 1", "0.01 is usual.")


def calibrate(model: WorldModel, reference: Reference, with_actions: bool, seed: int) -> Calibration:
    """Scores the clean episodes as a video would be scored. The result is kept in $LEWM_HOME/cache, where that can be
    written.

    Raises:
        LewmError: Fewer than two clean episodes are long enough to be scored.
    """
    path = home() / "cache" / "calibration" / f"{_key(model, reference, with_actions, seed)}.safetensors"
    try:
        together = read_tensors(path)["surprise"]
    except LewmError:  # not there, or damaged
        together = torch.cat(score_clean(model, reference, with_actions, seed)).cpu()
        with caching(path):
            save_tensors(path, {"surprise": together})
    episodes = together.split(reference.lengths.tolist())
    return of_scores([scores.double().numpy() for scores in episodes], model.config.frameskip)


def score_clean(
    model: WorldModel, reference: Reference, with_actions: bool, seed: int
) -> list[Float[torch.Tensor, " _"]]:
    """Surprise of every frame of every clean episode."""
    search = ActionSearch(reference.blocks, seed)
    scores = []
    for latents, actions in reference.episodes():
        known = blocks_leading_to(model, actions) if with_actions else search
        scores.append(Meter(model, model.config.frameskip, known).push(latents))
    return scores


def of_scores(episodes: Sequence[Float64[np.ndarray, " _"]], frameskip: int) -> Calibration:
    """A calibration from the surprise of clean episodes, which is NaN where a frame has no score.

    Raises:
        LewmError: Fewer than two episodes have a score.
    """
    scored = [(scores, windowed(scores, frameskip)) for scores in episodes if not np.isnan(scores).all()]
    if len(scored) < 2:
        raise LewmError(
            f"clean episodes that are long enough to be scored: {len(scored)}; calibration needs 2",
            "Give --calibrate a dataset with more or longer clean episodes, or hold out more of them: lewm train "
            "--set training.held_out=0.3.",
        )
    instant, window = (float(np.nanquantile(np.concatenate(some), QUANTILE)) for some in zip(*scored, strict=True))
    tiny = np.finfo(np.float64).tiny  # a perfect predictor is never surprised
    instant, window = max(instant, tiny), max(window, tiny)
    combined = [np.maximum(surprise / instant, mean / window) for surprise, mean in scored]
    clean = np.concatenate(combined)
    episode = np.repeat(np.arange(len(combined)), [len(one) for one in combined])
    order = np.argsort(clean)[: np.count_nonzero(~np.isnan(clean))]  # NaN comes last
    return Calibration(instant, window, clean[order], episode[order])


def windowed(surprise: Float64[np.ndarray, " T"], frameskip: int) -> Float64[np.ndarray, " T"]:
    """Mean surprise of a frame and of those one and two model steps earlier, as far as they have a score."""
    known, total = np.zeros(len(surprise)), np.zeros(len(surprise))
    for back in range(0, WINDOW * frameskip, frameskip):
        reached = max(0, len(surprise) - back)  # how many frames have another frame so much earlier
        earlier = np.concatenate([np.full(len(surprise) - reached, np.nan), surprise[:reached]])
        known += ~np.isnan(earlier)
        total += np.nan_to_num(earlier)
    return np.where(np.isnan(surprise), np.nan, total / np.maximum(known, 1))


def _key(model: WorldModel, reference: Reference, with_actions: bool, seed: int) -> str:
    """Digest of everything that the clean scores depend on."""
    key = {
        "weights": weights_sha256(model),
        "lengths": reference.lengths.tolist(),
        "search": None if with_actions else [CANDIDATES, ROUNDS, REFINED, ELITES, seed],
        "device": model.device.type,
        **versions(),
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode())
    for tensor in (reference.latents, reference.actions, reference.blocks):
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()
