"""training.png: what happened in a run, drawn from metrics.jsonl."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lewm.checkpoints import run
from lewm.errors import LewmError
from lewm.figures import figure
from lewm.training.metrics import read_metrics

PICTURE = "training.png"


def plot_training(directory: Path) -> Path:
    """Draw the metrics of a run into its training.png: both loss terms, and the health of the latent space.

    Raises:
        LewmError: matplotlib is not installed, or the run has logged nothing.
    """
    path = directory / run.METRICS
    lines = read_metrics(path)
    checks = [line for line in lines if "health" in line]
    if not lines or not checks:
        raise LewmError(f"{path}: nothing logged yet", "Train further.")
    with figure(directory / PICTURE, 11.0, 7.0) as drawn:
        panels = drawn.subplots(2, 3)
        _series(panels[0, 0], "Prediction error", lines, {"next embedding (mean square)": "prediction"}, log=True)
        _series(panels[0, 1], "SIGReg", lines, {"training batches": "sigreg"}, log=True)
        _series(panels[0, 2], "Clips a second", lines, {"throughput": "clips_per_second"})
        health = [{"step": line["step"], **line["health"]} for line in checks]
        _series(panels[1, 0], "Standard deviation of the latents", health, {"mean": "std_mean", "least": "std_min"})
        panels[1, 0].axhline(1, color="grey", linestyle=":", linewidth=1)
        _series(panels[1, 1], "Effective rank", health, {"held out": "effective_rank"})
        if checks[-1]["health"]["curve"]:
            _distances(panels[1, 2], checks)
        else:
            panels[1, 2].set_axis_off()
        drawn.suptitle(directory.name)
    return directory / PICTURE


def _series(panel: Any, title: str, lines: list[dict[str, Any]], names: dict[str, str], log: bool = False) -> None:  # noqa: ANN401
    marker = "o" if len(lines) == 1 else None  # a line of one point is not seen
    for label, key in names.items():
        values = [line[key] for line in lines]
        panel.plot([line["step"] for line in lines], values, label=label, linewidth=1.4, marker=marker)
    panel.set(title=title, xlabel="step")
    if log:
        panel.set_yscale("log")
    else:
        panel.set_ylim(bottom=0)
    if len(names) > 1:
        panel.legend()


def _distances(panel: Any, checks: list[dict[str, Any]]) -> None:  # noqa: ANN401
    """Latent distance over path length; early checks pale, the last dark."""
    for i, line in enumerate(checks):
        x, y = zip(*line["health"]["curve"], strict=True)
        panel.plot(x, y, color="C3", alpha=1 if line is checks[-1] else 0.1 + 0.4 * i / len(checks), linewidth=1.4)
    title = f"Latent distance (rank correlation {checks[-1]['health']['distance_correlation']:.2f})"
    panel.set(title=title, xlabel="shortest path in the world", xlim=(0, None), ylim=(0, None))
