"""A video of an episode: what happened, what was imagined, and the goal.

T frames, Y and X their sides.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from lewm.decoding.panels import BLUE, GREEN, GREY, RED, enlarge, framed, shown_at
from lewm.evaluation.episodes import Film
from lewm_data.video.video_writer import import_encoder, write_video

FRAMES_PER_SECOND = 10.0
HOLD = 8  # how many times the last frame is shown


def film_writer(directory: Path, ending: str) -> Callable[[Film], None]:
    """A function that writes each film to `directory`/episode-NNNN.`ending` ("mp4" or "gif")."""
    import_encoder(ending)  # before hours of planning, not after
    directory.mkdir(parents=True, exist_ok=True)

    def write(film: Film) -> None:
        write_video(directory / f"episode-{film.task:04d}.{ending}", compose(film), FRAMES_PER_SECOND)

    return write


def compose(film: Film) -> UInt8[np.ndarray, "T Y X 3"]:
    """Episode on the left, goal on the right; the last frame has a green border when solved, a red one when not.

    Where it cannot be told, the border stays grey. An imagined episode, if there is one, lies between the two with a
    blue border.
    """
    size = shown_at(*film.frames.shape[1:3])
    goal = framed(enlarge(film.goal[None], size)[0], GREY)
    last = GREY if film.solved is None else GREEN if film.solved else RED
    colours = [GREY] * (len(film.frames) - 1) + [last]
    panels = [[framed(f, colour) for f, colour in zip(enlarge(film.frames, size), colours, strict=True)]]
    if film.imagined is not None:
        panels.append([framed(f, BLUE) for f in enlarge(film.imagined, size)])
    shown = [np.hstack([*row, goal]) for row in zip(*panels, strict=True)]
    return np.stack([*shown[:-1], *shown[-1:] * HOLD])
