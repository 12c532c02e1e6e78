"""The pictures of the curves that come with lewm, which bench_worlds.py --curve measured.

    python benchmarks/draw_curves.py

It draws docs/curve-WORLD.png for each lewm/curves/WORLD.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from lewm.curves.committed import FOLDER
from lewm.curves.curve import read_curves
from lewm.curves.picture import draw_curves

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Draws every picture again, or those of the files that are given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="*", help="other files of curves")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="the folder of the pictures")
    arguments = parser.parse_args()
    for path in arguments.results or sorted(FOLDER.glob("*.json")):
        curves = read_curves(path)
        picture = arguments.out / f"curve-{curves[0].world}.png"
        draw_curves(picture, curves)
        print(picture)


if __name__ == "__main__":
    main()
