"""The curves that come with lewm: one file for each world in which one was measured, beside this one."""

from __future__ import annotations

from pathlib import Path

from lewm.curves.curve import Curve, read_curves

FOLDER = Path(__file__).parent


def committed_curves(world: str) -> tuple[Curve, ...]:
    """The curves of a world, one for each training seed; none where none was measured.

    `benchmarks/bench_worlds.py WORLD --curve --json lewm/curves/WORLD.json` writes the file of a world.
    """
    paths = {path.stem: path for path in FOLDER.glob("*.json")}
    return read_curves(paths[world]) if world in paths else ()
