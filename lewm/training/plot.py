"""training.png: the course of a training, drawn from metrics.jsonl."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from lewm.checkpoints import run
from lewm.errors import LewmError
from lewm.figures import figure
from lewm.training.metrics import read_metrics

PICTURE = "training.png"
COLUMNS = 3
WIDTH, HEIGHT = 11.0 / COLUMNS, 3.5  # size of a panel, in inches


def plot_training(directory: Path) -> Path:
    """Draw the metrics of a run into its training.png.

    There is a panel for each term of the loss, one for the throughput, and a row for the health of the latent space.

    Raises:
        LewmError: matplotlib is not installed, or the run has logged nothing.
    """
    path = directory / run.METRICS
    lines = read_metrics(path)
    checks = [line for line in lines if "health" in line]
    if not lines or not checks:
        raise LewmError(f"{path}: nothing logged yet", "Train further.")
    names = list(lines[0]["terms"])
    rows = math.ceil((len(names) + 1) / COLUMNS)
    with figure(directory / PICTURE, COLUMNS * WIDTH, (rows + 1) * HEIGHT) as drawn:
        grid = drawn.subplots(rows + 1, COLUMNS)
        above, (spread, rank, distances) = grid[:-1].flat, grid[-1]
        steps, checked = ([line["step"] for line in some] for some in (lines, checks))
        for panel in above[len(names) + 1 :]:
            panel.set_axis_off()
        for panel, name in zip(above, names, strict=False):
            values = [line["terms"][name] for line in lines]
            _series(panel, f"Loss term: {name}", steps, {"training batches": values})
            panel.set_yscale("log" if min(values) > 0 else "linear")
        _series(
            above[len(names)], "Clips a second", steps, {"throughput": [line["clips_per_second"] for line in lines]}
        )
        least, mean, ranks = (
            [line["health"][name] for line in checks] for name in ("std_min", "std_mean", "effective_rank")
        )
        _series(spread, "Standard deviation of the latents", checked, {"mean": mean, "least": least})
        spread.axhline(1, color="grey", linestyle=":", linewidth=1)
        _series(rank, "Effective rank", checked, {"held out": ranks})
        for panel in (above[len(names)], spread, rank):
            panel.set_ylim(bottom=0)
        if checks[-1]["health"]["curve"]:
            _distances(distances, checks)
        else:
            distances.set_axis_off()
        drawn.suptitle(directory.name)
    return directory / PICTURE


def _series(panel: Any, title: str, steps: list[int], curves: dict[str, list[float]]) -> None:  # noqa: ANN401
    marker = "o" if len(steps) == 1 else None  # a line of one point cannot be seen
    for label, values in curves.items():
        panel.plot(steps, values, label=label, linewidth=1.4, marker=marker)
    panel.set(title=title, xlabel="step")
    if len(curves) > 1:
        panel.legend()


def _distances(panel: Any, checks: list[dict[str, Any]]) -> None:  # noqa: ANN401
    """Draw latent distance over path length; early checks are pale, the last is dark."""
    for i, line in enumerate(checks):
        x, y = zip(*line["health"]["curve"], strict=True)
        panel.plot(x, y, color="C3", alpha=1 if line is checks[-1] else 0.1 + 0.4 * i / len(checks), linewidth=1.4)
    title = f"Latent distance (rank correlation {checks[-1]['health']['distance_correlation']:.2f})"
    panel.set(title=title, xlabel="shortest path in the world", xlim=(0, None), ylim=(0, None))
