"""The verdicts on Gymnasium environments: the benchmark runs, and the committed ones are those that README tells."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest


def test_the_benchmark_tries_out_what_is_installed_and_names_the_rest(module, tmp_path, monkeypatch):
    pytest.importorskip("pygame", reason='needs pip install -e ".[gymnasium]"')
    bench = module("bench_verdicts")
    monkeypatch.setitem(sys.modules, "Box2D", None)
    report = tmp_path / "verdicts.json"
    names = ["FrozenLake-v1", "LunarLander-v3"]
    monkeypatch.setattr(sys, "argv", ["bench_verdicts.py", "--json", str(report), "--only", *names])
    bench.main()
    lake, lander = json.loads(report.read_text())["results"]
    (committed,) = [row for row in _committed(module) if row["world"] == "FrozenLake-v1"]
    assert lake.keys() == committed.keys()
    assert (lake["known"], lake["said"].split("(")[0]) == (committed["known"], committed["said"].split("(")[0])
    assert lander["world"] == "LunarLander-v3"
    assert lander["skipped"].startswith("LunarLander-v3: needs Box2D, which is not installed. Run in the checkout")


README = Path(__file__).parents[2] / "README.md"
TOLD = {  # environments as README calls them: what it says of each, and how the measured verdict begins and goes on
    "CartPole": ("CartPole passes, like all of Gymnasium's classic control.", "judged by states", ""),
    "MiniGrid": (
        "MiniGrid, whose only number is a direction, does not,",
        "not known",
        "with equal states look different",
    ),
    "Taxi": (
        "nor does Taxi, whose picture also shows which way it went.",
        "not known",
        "with equal states look different",
    ),
    "LunarLander": (
        "In LunarLander, moments that count as the same have the small lander in different places of the picture.",
        "not known",
        "moments that count as the same look different",
    ),
    "BipedalWalker": (
        "In BipedalWalker, hardly any moments count as the same, which tells too little.",
        "not known",
        "too few states are near one another",
    ),
}


def test_readme_tells_the_verdicts_that_were_measured(module):
    """Each environment that its paragraph names, with the verdict that is told there; and no other is named."""
    (paragraph,) = [
        " ".join(one.split()) for one in README.read_text().split("\n\n") if one.startswith("No two moments with equal")
    ]
    rows = {row["world"]: row for row in _committed(module)}
    classic, *others = module("bench_verdicts").KINDS
    assert set(rows) == {name for kind in (classic, *others) for name in kind.names}
    called = {name: re.split("[:/]", name)[-1].split("-")[0] for name in rows}  # "MiniGrid" for "minigrid:MiniGrid-…"
    assert {one for one in called.values() if one in paragraph} == set(TOLD)
    for name, (sentence, verdict, why) in TOLD.items():
        assert sentence in paragraph
        measured = [rows[world] for world in rows if called[world] == name]
        measured += [rows[world] for world in classic.names if "classic control" in sentence]
        for row in measured:
            assert row["known"] == (verdict != "not known")
            assert row["said"].startswith(verdict)
            assert why in row["said"]
    assert "CartPole-v1" in classic.names


def _committed(module):
    return module("_cells").load("verdicts-cpu.json")["results"]
