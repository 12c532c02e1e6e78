"""The verdicts on Gymnasium environments: the benchmark runs, and the committed ones are those that README tells."""

from __future__ import annotations

import json
import sys

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


def test_readme_tells_the_verdicts_that_were_measured(module):
    """All of classic control passes; MiniGrid, Taxi, LunarLander and BipedalWalker do not, each for its reason."""
    rows = {row["world"]: row for row in _committed(module)}
    classic, *others = module("bench_verdicts").KINDS
    assert "CartPole-v1" in classic.names
    assert all(rows[name]["known"] for name in classic.names)
    assert set(rows) == {name for kind in (classic, *others) for name in kind.names}
    for name, why in (
        ("minigrid:MiniGrid-Empty-8x8-v0", "moments with equal states look different"),
        ("Taxi-v4", "moments with equal states look different"),
        ("LunarLander-v3", "moments that count as the same look different"),
        ("BipedalWalker-v3", "too few states are near one another"),
    ):
        assert not rows[name]["known"]
        assert why in rows[name]["said"]


def _committed(module):
    return module("_cells").load("verdicts-cpu.json")["results"]
