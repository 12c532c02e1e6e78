"""suite.png and the example videos of `lewm surprise --suite`.

T frames, Y and X their sides; E episodes, W frames around the onset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64, UInt8

from lewm.figures import figure
from lewm.measures.intervals import Z_95
from lewm_data.video.video_writer import write_video

if TYPE_CHECKING:
    from lewm.surprise.outcomes import Curves

SIDE = 256  # least side of an example video
FRAMES_PER_SECOND = 10.0
COLORS = {"known": "#c0392b", "unknown": "#2471a3"}
GREY = "#8a8f98"


@dataclass(frozen=True)
class Example:
    """One twin to show."""

    name: str
    frames: UInt8[np.ndarray, "T Y X 3"]
    onset: int


def write_examples(folder: Path, examples: Sequence[Example]) -> None:
    """Write one mp4 for each example, named after the perturbation; small frames are enlarged by a whole factor."""
    folder.mkdir(parents=True, exist_ok=True)
    for example in examples:
        factor = max(1, -(-SIDE // example.frames.shape[1]))
        frames = example.frames.repeat(factor, axis=1).repeat(factor, axis=2)
        write_video(folder / f"{example.name.replace(' ', '-')}.mp4", frames, FRAMES_PER_SECOND)


def draw_suite(path: Path, curves: Sequence[Curves], examples: Sequence[Example], before: int, frameskip: int) -> None:
    """Draw a row for each perturbation: what it looks like, and mean surprise around it, actions known and unknown.

    Args:
        before: How many frames of the curves lie before the onset.
        frameskip: Frames a model step; the pictures are so far apart.
    """
    shown = {example.name: example for example in examples}
    names = list(dict.fromkeys(one.perturbation for one in curves))
    moments = (-1, 0, frameskip, 2 * frameskip)
    with figure(path, 11.0, 1.75 * len(names) + 0.6) as drawn:
        widths = [1] * len(moments) + [2.2, 2.2]
        panels = drawn.subplots(len(names), len(widths), squeeze=False, width_ratios=widths)
        for number, (row, name) in enumerate(zip(panels, names, strict=True)):
            example = shown[name]
            for panel, moment in zip(row, moments, strict=False):
                panel.imshow(example.frames[example.onset + moment], interpolation="nearest")
                panel.set(xticks=[], yticks=[])
                panel.spines[:].set_visible(True)
                panel.spines[:].set_color("#cccccc")
                if number == 0:
                    panel.set_title(f"frame {moment:+d}" if moment else "onset", fontsize=10)
            row[0].set_ylabel(name.replace(" ", "\n", 1))
            for panel, actions in zip(row[len(moments) :], COLORS, strict=True):
                (one,) = [c for c in curves if (c.perturbation, c.actions) == (name, actions)]
                _draw_curves(panel, one, before)
                if number == 0:
                    panel.set_title(f"surprise, actions {actions}", fontsize=10)
                    panel.legend(fontsize=8)
                if number == len(names) - 1:
                    panel.set_xlabel("frames from the onset")
            row[-1].sharey(row[-2])
            row[-1].set_ylim(min(_lowest(one) for one in curves if one.perturbation == name) / 2)


def _lowest(one: Curves) -> float:
    """The least of the frames' geometric means over the episodes."""
    return float(min(np.exp(_logs(values).mean(axis=0)).min() for values in (one.perturbed, one.untouched)))


def _logs(values: Float64[np.ndarray, "E W"]) -> Float64[np.ndarray, "E W"]:
    return np.log(np.maximum(values, np.finfo(np.float32).tiny))


def _draw_curves(panel: Any, one: Curves, before: int) -> None:  # noqa: ANN401
    """Draw geometric means over the episodes, with a 95 % band of the mean."""
    time = np.arange(one.untouched.shape[1]) - before
    for values, color, label in (
        (one.perturbed, COLORS[one.actions], "perturbed"),
        (one.untouched, GREY, "untouched"),
    ):
        logs = _logs(values)
        mean = logs.mean(axis=0)
        error = Z_95 * logs.std(axis=0, ddof=1) / len(logs) ** 0.5
        low, high = np.exp(mean - error), np.exp(mean + error)
        panel.fill_between(time, low, high, color=color, alpha=0.2, linewidth=0)
        panel.plot(time, np.exp(mean), color=color, linewidth=1.4, label=label)
    panel.axvline(0, color="black", linewidth=0.8, linestyle=":")
    panel.set(yscale="log", xlim=(time[0], time[-1]))
