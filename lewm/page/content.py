"""The content of a part of the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lewm.checkpoints import run
from lewm.files import sha256
from lewm.page import elements
from lewm.page.document import KeyNumber


@dataclass(frozen=True)
class Content:
    """What the page shows of a file: HTML, and numbers for its top."""

    body: str
    numbers: tuple[KeyNumber, ...] = ()


def other_weights(path: Path, report: Mapping[str, Any]) -> str:
    """A warning where `report` was made with other weights than the run has now."""
    weights = path.parent / run.MODEL
    if not weights.is_file() or sha256(weights) == report.get("checkpoint_sha256"):
        return ""
    return elements.paragraph("Made with other weights than the run has now.", "warning")
