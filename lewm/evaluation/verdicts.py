"""The verdict on whether a world's states tell that a goal is reached, kept in `$LEWM_HOME/cache/verdicts`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from lewm.errors import LewmError
from lewm.files import caching, home, write_text
from lewm.reading import read_json
from lewm_data.envs.judgement import Judgement, OnShare
from lewm_data.envs.world import World


def with_kept_verdict(world: World, on_trial: OnShare) -> World:
    """The same world, whose `judge` keeps the result of a trial, and uses that of an earlier one.

    Args:
        world: The world. Where it says not all of what its trial depends on, nothing is kept.
        on_trial: Is told how far a trial is, where `judge` is not given another listener.
    """

    def judge(on_share: OnShare = on_trial) -> Judgement:
        depends_on = world.judged_from()
        if depends_on is None:
            return world.judge(on_share)
        text = json.dumps({"world": world.name, **depends_on}, sort_keys=True)
        path = home() / "cache" / "verdicts" / f"{hashlib.sha256(text.encode()).hexdigest()}.json"
        judgement = _read(path, depends_on)
        if judgement is None:
            judgement = world.judge(on_share)
            with caching(path):
                write_text(path, _written(judgement, depends_on))
        return judgement

    return replace(world, judge=judge)


def _written(judgement: Judgement, depends_on: Mapping[str, str]) -> str:
    kept = {"known": judgement.known, "said": judgement.said, "depends_on": dict(depends_on)}
    return json.dumps({**kept, "sha256": _digest(kept)}, indent=2) + "\n"


def _read(path: Path, depends_on: Mapping[str, str]) -> Judgement | None:
    """The verdict that is kept at `path`; None where there is none, or it is damaged."""
    try:
        kept = read_json(path, "It is made again.")
        stated = kept.pop("sha256")
        judgement = Judgement(kept["known"], kept["said"])
    except (LewmError, AttributeError, KeyError, TypeError):
        return None
    return judgement if stated == _digest(kept) and kept["depends_on"] == depends_on else None


def _digest(kept: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
