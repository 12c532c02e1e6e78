"""Which clean episodes a video is compared with: those that a run holds out, or those of a dataset that is named."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from lewm.errors import LewmError
from lewm.held_out import held_out
from lewm.opened_run import Run
from lewm.surprise.reference import Reference, build, of_run, of_training


@dataclass(frozen=True)
class CleanData:
    """Where clean episodes are from.

    Attributes:
        name: What a report calls them.
        held_out: Whether the model's training held them out; None where they are of other data.
        room: Whether more of them would be used if there were more; otherwise lewm itself sets the limit.
    """

    name: str
    held_out: bool | None
    room: bool


def reference_of(run: Run, calibrate: Path | None) -> tuple[Reference, CleanData]:
    """What is normal according to the run's own held-out episodes, or to all episodes of another dataset.

    Returns:
        The reference, and where its clean episodes are from.

    Raises:
        LewmError: the dataset is of another world than the run.
    """
    if calibrate is None:
        own = of_run(run)
        return own, CleanData(run.held_out_in_words, run.holds_out, own.has_room(run.model))
    with run.data(calibrate, "--calibrate") as data:
        if data.in_training:
            own = of_training(run.model, run.config, data.dataset)
            name = f"{held_out('episodes', data.known_unseen)} of {calibrate}"
            return own, CleanData(name, data.known_unseen, own.has_room(run.model))
        every = data.unseen
        clean = build(run.model, data.dataset, clean=every, seen=every, seed=run.config.training.seed)
    source = CleanData(str(calibrate), None, clean.has_room(run.model))
    try:
        own = of_run(run)
    except LewmError:  # the run's own data are gone: actions and thumbnails come from the clean episodes too
        return clean, source
    return dataclasses.replace(own, latents=clean.latents, actions=clean.actions, lengths=clean.lengths), source
