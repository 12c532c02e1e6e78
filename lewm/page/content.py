"""The content of a part of the page."""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from lewm.checkpoints import run
from lewm.files import sha256
from lewm.page import elements
from lewm.page.document import KeyNumber

# What reading a report can raise that was not written by this version of lewm.
ODD = (ValueError, KeyError, IndexError, TypeError, AttributeError, ArithmeticError, RecursionError)


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


def newest_first(directory: Path, pattern: str) -> list[Path]:
    """The files of this name in a run that hold something, the newest first."""
    begun = [one for one in directory.iterdir() if fnmatchcase(one.name, pattern) and _has_content(one)]
    return sorted(begun, key=_place, reverse=True)


def count(number: int, noun: str) -> str:
    """For example "3 latents"."""
    return f"{number} {noun}{'s' * (number != 1)}"


def _has_content(path: Path) -> bool:
    """False for the empty metrics of a run that has just begun."""
    about = path.lstat()
    return not stat.S_ISREG(about.st_mode) or about.st_size > 0


def _place(path: Path) -> list[str | int]:
    """Sort key that puts names in the order in which they were given: "plan", "plan-9", "plan-10"."""
    return [int(one) if one.isdecimal() else one for one in re.split(r"([0-9]+)", path.stem)]
