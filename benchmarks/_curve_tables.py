"""What limits each world, for tables.py: the ends of the curves that come with lewm, and their pictures."""

from collections.abc import Mapping

from _cells import RESULTS

from lewm.curves.committed import FOLDER
from lewm.curves.curve import Curve, read_curves
from lewm.measures.intervals import Estimate

DOCS = RESULTS.parent.parent / "docs"


def curves() -> str:
    """A row for the last point of each training, and the picture of each world."""
    rows = [
        "| world | seed | training | solved | oracle: solved | R² of each quantity | within the tolerance: seen "
        "| imagined | effective rank | rank correlation |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    files = [read_curves(path) for path in sorted(FOLDER.glob("*.json"))]
    if not files:
        return "Not measured.\n"
    rows += [f"| {' | '.join(_cells(curve))} |" for some in files for curve in some]
    worlds = [some[0].world for some in files if (DOCS / f"curve-{some[0].world}.png").exists()]
    pictures = [
        f"\n![{world}: success, probes, open loop and shape of the latents over the seconds of training]"
        f"(docs/curve-{world}.png)"
        for world in worlds
    ]
    return "\n".join([*rows, *pictures, ""])


def _cells(curve: Curve) -> list[str]:
    last, oracle = curve.points[-1], curve.oracle
    ahead = last.open_loop
    follows = last.distance_correlation
    return [
        curve.world,
        str(curve.seed),
        f"{last.train_seconds / 60:.1f} min",
        f"{last.plan['successes']} of {last.plan['episodes']}",
        "-" if oracle is None else f"{oracle['successes']} of {oracle['episodes']}",
        "; ".join(f"{name} {_r2(probes)}" for name, probes in last.r2.items()),
        *(("-", "-") if ahead is None else (f"{ahead.seen.solved:.0%}", f"{ahead.imagined.solved:.0%}")),
        f"{last.effective_rank:.1f}",
        "-" if follows is None else f"{follows:.2f}",
    ]


def _r2(probes: Mapping[str, Estimate]) -> str:
    """What an MLP reads."""
    return f"{probes['mlp'].value:.2f}"
