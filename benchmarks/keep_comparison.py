"""Keeps the result of `lewm compare` for the README's tables, without the lists over dimensions of latents.

python benchmarks/keep_comparison.py $LEWM_HOME/compare/results/ablation benchmarks/results/compare-ablation-cpu.json
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lewm.compare.result import JSON, Comparison, Row, read_comparison
from lewm.report_files import write_report

LONGEST = 8  # numbers; what is longer is a list over dimensions


def main() -> None:
    """Reads the one file, writes the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comparison", type=Path, help="the folder of the comparison")
    parser.add_argument("json", type=Path)
    arguments = parser.parse_args()
    write_report(arguments.json, kept(read_comparison(arguments.comparison / JSON)))


def kept(comparison: Comparison) -> Comparison:
    """The comparison with short statistics of embeddings."""
    worlds = tuple(
        replace(
            world,
            groups=tuple(replace(group, rows=tuple(map(_short, group.rows))) for group in world.groups),
        )
        for world in comparison.worlds
    )
    return replace(comparison, worlds=worlds)


def _short(row: Row) -> Row:
    return replace(row, embeddings=tuple(None if each is None else _without_lists(each) for each in row.embeddings))


def _without_lists(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_lists(value) if isinstance(value, dict) else value
        for key, value in values.items()
        if not isinstance(value, list) or len(value) <= LONGEST
    }


if __name__ == "__main__":
    main()
