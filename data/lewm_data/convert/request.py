"""What a conversion is asked for, what it plans, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lewm_data.convert.appearance import NOT_FLIPPED
from lewm_data.convert.sampling import HOLD
from lewm_data.video.placing import CROP


@dataclass(frozen=True)
class Request:
    """What to convert, and how.

    Attributes:
        source: A file or a folder.
        out: The dataset to write; one that this conversion began is continued.
        camera: The camera to take; needed only where there are several.
        fps: Rows a second that are taken; None takes all. Where the source has no clock, it is the rate it is said to
            have.
        frame_size: Sides of the frames in pixels; None takes the shorter side of the pictures, but at most
            `placing.LARGEST_SIDE`.
        fit: How pictures that are not square become so: "crop", "letterbox" or "stretch".
        color_order: The order of the colours in the pictures: "rgb" or "bgr"; None takes what the format says.
        flip: What turns the pictures the right way up: "none", "vertical", "horizontal" or "both".
        resample: How the actions between two rows that are taken become one: "hold", "mean" or "sum".
        part: (k, n) converts the k-th of n parts of the episodes, counted from 1.
        env: What the dataset calls its world; None takes the source's name.
        overwrite: Whether to replace `out`, when all episodes are converted.
        skip_damaged: Whether to leave out episodes that cannot be read, instead of stopping.
    """

    source: Path
    out: Path
    camera: str | None = None
    fps: float | None = None
    frame_size: int | None = None
    fit: str = CROP
    color_order: str | None = None
    flip: str = NOT_FLIPPED
    resample: str = HOLD
    part: tuple[int, int] = (1, 1)
    env: str | None = None
    overwrite: bool = False
    skip_damaged: bool = False


@dataclass(frozen=True)
class Plan:
    """What a conversion is going to do, before it does.

    Attributes:
        format: What the source's format is called.
        assumptions: What is assumed, a plain sentence each.
        episodes: Number of episodes of the part that is converted.
        done: How many of them the dataset has already, or left out.
        replaces: Whether the file that is there stays until the new one is complete.
    """

    format: str
    assumptions: tuple[str, ...]
    episodes: int
    done: int
    replaces: bool


@dataclass(frozen=True)
class Report:
    """The result of a conversion.

    Attributes:
        out: The dataset.
        plan: What was assumed.
        episodes: Episodes of the dataset.
        frames: Frames of the dataset.
        left_out: Names of episodes that could not be read, and why; an earlier try that was interrupted counts.
        footage: Seconds of the recordings that were converted now; None without a clock.
        seconds: Seconds that it took.
    """

    out: str
    plan: Plan
    episodes: int
    frames: int
    left_out: tuple[tuple[str, str], ...]
    footage: float | None
    seconds: float
