"""The pictures of a probe report.

N frames, T test frames, C numbers of a quantity, Q query frames, K neighbours, Y and X the sides of a frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float64, UInt8

from lewm.figures import figure
from lewm.probing.space import Space

POINTS = 4000  # the most points drawn: more only hide each other
MAX_NUMBERS = 12  # the most numbers, of all quantities together, that get panels of their own
INK, PALE = "#3b4cc0", "#9a9a9a"
COLOURS = {"trained encoder": "#3b4cc0", "random encoder": "#dd8452", "pixel PCA": "#8c8c8c"}


@dataclass(frozen=True)
class Predicted:
    """One number of a quantity on the test frames, in the dataset's units, and what both probes predict."""

    label: str
    truth: Float64[np.ndarray, " T"]
    linear: Float64[np.ndarray, " T"]
    mlp: Float64[np.ndarray, " T"]


def draw_scatter(path: Path, numbers: Sequence[Predicted]) -> None:
    """Truth against prediction of the trained encoder's probes: one row a number, linear left, MLP right."""
    shown = numbers[:MAX_NUMBERS]
    with figure(path, 7.4, 0.5 + 3.3 * len(shown)) as drawn:
        for row, number in zip(drawn.subplots(len(shown), 2, squeeze=False), shown, strict=True):
            some = _some(len(number.truth))
            low, high = number.truth.min(), number.truth.max()
            margin = 0.06 * (high - low)
            limits = (low - margin, high + margin)
            for panel, name, predicted in zip(row, ("linear", "MLP"), (number.linear, number.mlp), strict=True):
                panel.plot(limits, limits, color=PALE, linewidth=1, zorder=1)
                panel.scatter(number.truth[some], predicted[some], s=5, alpha=0.35, linewidths=0, color=INK)
                r = np.corrcoef(number.truth, predicted)[0, 1] if predicted.std() > 0 else 0.0
                panel.set(title=f"{number.label}, {name}: r = {r:.4f}", xlim=limits, ylim=limits, xlabel="truth")
                panel.set_aspect("equal")
            row[0].set_ylabel("prediction")
        drawn.suptitle("Trained encoder, test episodes" + _first_of(shown, numbers))


def draw_distances(path: Path, spaces: Sequence[Space]) -> None:
    """Mean latent distance over path length; each space's curve is scaled to its greatest mean distance."""
    with figure(path, 6.4, 4.4) as drawn:
        panel = drawn.subplots()
        for space in spaces:
            lengths, distances = np.array(space.curve).T
            label = f"{space.features}: rank correlation {space.distance_correlation:.2f}"
            panel.plot(
                lengths,
                distances / max(distances.max(), 1e-30),
                color=COLOURS[space.features],
                label=label,
                linewidth=2,
            )
        panel.set(
            title="Does distance in the latent space mean distance in the world?",
            xlabel="shortest path in the world",
            ylabel="mean latent distance (its greatest is 1)",
            xlim=(0, None),
            ylim=(0, 1.05),
        )
        panel.legend(loc="lower right")


def draw_neighbours(
    path: Path,
    queries: UInt8[np.ndarray, "Q Y X 3"],
    neighbours: UInt8[np.ndarray, "Q K Y X 3"],
    distances: Float64[np.ndarray, "Q K"],
) -> None:
    """Each row has a query frame, then the nearest frames of other episodes with their latent distances."""
    rows, columns = distances.shape
    with figure(path, 1.35 * (columns + 1), 0.6 + 1.5 * rows) as drawn:
        panels = drawn.subplots(rows, columns + 1, squeeze=False)
        for panel in panels.flat:
            panel.set(xticks=[], yticks=[])
            panel.spines[:].set_visible(True)
            panel.spines[:].set_color(PALE)
        for row, query, found, apart in zip(panels, queries, neighbours, distances, strict=True):
            row[0].imshow(query)
            row[0].spines[:].set(color=INK, linewidth=2.5)
            for panel, frame, distance in zip(row[1:], found, apart, strict=True):
                panel.imshow(frame)
                panel.set_title(f"{distance:.2f}", fontsize=9, pad=3)
        panels[0, 0].set_title("query", fontsize=9, pad=3)
        drawn.suptitle("Nearest frames of other episodes, with their latent distance")


def draw_map(
    path: Path,
    title: str,
    axes: tuple[str, str] | None,
    points: Float[np.ndarray, "N 2"],
    numbers: Sequence[tuple[str, Float64[np.ndarray, " N"]]],
) -> None:
    """Latents in two dimensions, coloured by each number of the quantities.

    Args:
        axes: What each dimension is; None where a map's coordinates mean nothing.
    """
    shown = numbers[:MAX_NUMBERS]
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    some = _some(len(points))
    with figure(path, 4.8 * columns, 0.5 + 4.0 * rows) as drawn:
        panels = drawn.subplots(rows, columns, squeeze=False)
        for panel in panels.flat[len(shown) :]:
            panel.set_axis_off()
        for panel, (label, values) in zip(panels.flat, shown, strict=False):
            dots = panel.scatter(*points[some].T, c=values[some], s=6, linewidths=0, cmap="viridis")
            panel.set_title(label)
            panel.grid(False)
            if axes is None:
                panel.set(xticks=[], yticks=[])
            else:
                panel.set(xlabel=axes[0], ylabel=axes[1])
            drawn.colorbar(dots, ax=panel, shrink=0.85)
        drawn.suptitle(title + _first_of(shown, numbers))


def draw_space(path: Path, z: Float[np.ndarray, "N D"], shares: Float64[np.ndarray, " D"], space: Space) -> None:
    """Left: how much of the variance the first dimensions hold. Right: each dimension beside the normal distribution.

    Args:
        z: The trained encoder's latents, each dimension z-scored.
        shares: Share of the variance along each principal component.
    """
    with figure(path, 9.6, 4.0) as drawn:
        left, right = drawn.subplots(1, 2)
        left.plot(np.arange(len(shares) + 1), np.cumsum([0, *shares]), color=INK, linewidth=2)
        rank = f"effective rank {space.effective_rank:.1f} of {len(shares)}"
        left.axvline(space.effective_rank, color="k", linestyle="--", linewidth=1.5, label=rank)
        left.set(
            title="Variance held by the first principal components",
            xlabel="components",
            ylabel="share of the variance",
            xlim=(0, len(shares)),
            ylim=(0, 1.03),
        )
        left.legend(loc="lower right")
        edges = np.linspace(-4, 4, 65)
        middles = (edges[1:] + edges[:-1]) / 2
        for i, column in enumerate(z.T):
            density, _ = np.histogram(column, bins=edges, density=True)
            label = "each dimension" if i == 0 else None
            right.plot(middles, density, color=INK, alpha=0.3, linewidth=0.7, label=label)
        right.plot(middles, np.exp(-(middles**2) / 2) / np.sqrt(2 * np.pi), "k--", linewidth=1.5, label="normal")
        right.set(
            title=f"Distance to normal: mean {np.mean(space.normality):.2f}, greatest {max(space.normality):.2f}",
            xlabel="z-score",
            ylabel="density",
            ylim=(0, None),
        )
        right.legend()


def _some(count: int) -> slice:
    """A slice that takes at most `POINTS` of `count` points, evenly spaced."""
    return slice(None, None, -(-count // POINTS))


def _first_of(shown: Sequence[object], all_of_them: Sequence[object]) -> str:
    return f" (first {len(shown)} of {len(all_of_them)} numbers)" if len(shown) < len(all_of_them) else ""
