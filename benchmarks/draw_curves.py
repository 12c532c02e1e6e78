"""The pictures of the curves that bench_worlds.py --curve measured.

    python benchmarks/draw_curves.py

It draws docs/curve-WORLD.png for each benchmarks/results/curve-WORLD-cpu.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from lewm.curves.curve import read_curves
from lewm.curves.picture import draw_curves

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Draws every picture again, or those of the files that are given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="*", help="other files of curves")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="the folder of the pictures")
    arguments = parser.parse_args()
    committed = sorted((ROOT / "benchmarks" / "results").glob("curve-*-cpu.json"))
    for path in arguments.results or committed:
        curves = read_curves(path)
        draw_curves(arguments.out / f"curve-{curves[0].world}.png", curves)


if __name__ == "__main__":
    main()
