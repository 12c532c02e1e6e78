"""What a threshold of surprise rests on, and how many false alarms that allows.

Frames of an episode are alike, so it is episodes that count. If a new clean episode is drawn as the K clean ones were,
it is the strangest of all K + 1 with a chance of 1 / (K + 1), and then all of its frames may be flagged.

The rate of false alarms here is the share of a new episode's frames that is flagged, among those with a score. On
average over calibrations and new episodes, each of which counts once, it is at most (1 + alpha K) / (K + 1), whatever
the episodes are like and however long they are; it is near alpha where frames are hardly alike. This is so because each
frame of an episode of n weighs 1 / n. Where a new frame is flagged, the clean frames that are as surprising weigh at
most alpha K together, and at most 1 + alpha K with the whole new episode. So it is among the highest frames of the
K + 1 episodes, which have that share of all their weight. With fewer than 1 / alpha - 1 episodes, no threshold within
the range of the clean scores can keep to alpha.

Two things are neglected: the units of the two scores are taken from the clean episodes, too; and where only pieces of
long episodes are used, the limit is that of such pieces of new ones.

Source: Lee, Barber and Willett, "Distribution-free inference with hierarchical data", arXiv 2306.06342.
Differs: there, a new frame has the whole weight of its episode in its rank, so that the limit is alpha itself, which
flags less; here, it has that of an average frame.
"""

from __future__ import annotations

import logging
import math
from dataclasses import asdict, dataclass
from typing import Any

from lewm.opened_run import Run
from lewm.surprise.calibration import Calibration
from lewm.surprise.clean_data import CleanData
from lewm.surprise.reference import CLEAN_FRAMES

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Basis:
    """What a threshold rests on.

    Attributes:
        data: Where the clean episodes are from.
        clean_episodes: How many there are with a score.
        clean_frames: How many frames of them have a score.
        episodes_needed: The fewest episodes with which a rate of false alarms of alpha can be kept.
        false_alarms_at_most: The share of an episode's frames that is flagged at most, on average over new episodes
            that are drawn as the clean ones were; None where `held_out` is False, because new ones may then differ.
        held_out: Whether the model's training held out the clean episodes; None where they are of other data.
    """

    data: str
    clean_episodes: int
    clean_frames: int
    episodes_needed: int
    false_alarms_at_most: float | None
    held_out: bool | None

    @property
    def enough(self) -> bool:
        """Whether there are enough episodes for alpha."""
        return self.clean_episodes >= self.episodes_needed

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def basis_of(run: Run, source: CleanData, calibration: Calibration, alpha: float) -> Basis:
    """What a calibration rests on; warns where that is too little for alpha, or where training may have seen it."""
    episodes = calibration.episodes
    most = None if source.held_out is False else (1 + alpha * episodes) / (1 + episodes)
    basis = Basis(
        data=source.name,
        clean_episodes=episodes,
        clean_frames=len(calibration.clean),
        episodes_needed=math.ceil(1 / alpha - 1e-9) - 1,
        false_alarms_at_most=most,
        held_out=source.held_out,
    )
    if not basis.enough:
        log.warning(
            "calibrated on %d clean episodes, and alpha %g needs %d%s. %s --alpha %g.",
            episodes,
            alpha,
            basis.episodes_needed,
            "" if most is None else f": on average up to {most:.1%} of the frames of a clean video may be flagged",
            "Give --calibrate a dataset with more clean episodes, or"
            if source.room
            else f"More would not be used, because {CLEAN_FRAMES:,} clean frames are the most that are: give",
            math.ceil(1000 / (1 + episodes)) / 1000,
        )
    if source.held_out is False:
        log.warning(
            "%s was imported, and its training may have seen the clean episodes: it may predict new ones worse, and "
            "flag more of their frames. Give --calibrate episodes that are new.",
            run.path,
        )
    return basis
