"""The option --frameskip-hint: which frameskip suits a dataset, by how much its frames change."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lewm_data.store.change import Hint

FrameskipHint = Annotated[
    bool, typer.Option("--frameskip-hint", help="Say which frameskip suits, by how much the frames change.")
]


def hint_of(path: Path) -> Hint:
    """Reads some frames of a dataset, and compares them."""
    from lewm_data.store.change import frameskip_hint
    from lewm_data.store.dataset import Dataset

    with Dataset.open(path) as dataset:
        return frameskip_hint(dataset)


def said_hint(hint: Hint) -> list[str]:
    """A hint in words."""
    shares = ", ".join(f"{change:.0%} after {steps}" for steps, change in hint.changes.items())
    return [
        f"frameskip {hint.frameskip} suits (lewm train --set model.frameskip={hint.frameskip}): frames then have "
        "changed half as much as unrelated frames differ",
        f"  change: {shares}",
    ]
