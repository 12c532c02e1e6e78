"""What rows of `lewm compare` say of those that act: how much they consist of, and what they learnt."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from safetensors import safe_open

from lewm.heads.policies import POLICIES
from lewm.opened_run import open_run
from lewm_cli.compare_table import tables
from tests.cli.test_compare import SPEC, compare

AGENTS = """
[[groups]]
title = "Agents"
rows = [
    "lewm",
    { of = "lewm", title = "head", plan.set = { "cost.kind" = "head" } },
    { of = "lewm", title = "GC-IDM", plan.set = { agent = "idm" } },
    { of = "lewm", title = "GCIVL", plan.set = { agent = "gcivl" } },
    { of = "lewm", title = "random", plan.set = { agent = "random" } },
    { of = "lewm", title = "expert", plan.set = { agent = "expert" } },
]
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The folder of all comparisons; policies learn in three steps."""
    monkeypatch.setenv("LEWM_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for kind, line in POLICIES.items():
        monkeypatch.setitem(POLICIES, kind, replace(line, settings=partial(line.settings, steps=3)))
    return tmp_path / "home" / "compare"


def stored(path):
    """How many numbers a file of weights has; a table of sines is no weight."""
    with safe_open(path, "numpy") as file:
        return sum(file.get_tensor(name).size for name in file.keys() if name != "table")  # noqa: SIM118


def test_a_row_counts_what_decides_and_bounds_have_nothing_to_count(home, tmp_path):
    found = compare(tmp_path, SPEC + AGENTS, "--seeds", "0")
    lewm, head, idm, gcivl, *bounds = found.worlds[0].groups[0].rows
    run = home / lewm.runs[0]
    model = open_run(run).model
    whole, seeing = (
        sum(number.numel() for part in parts for number in part.parameters())
        for parts in ([model], [model.encoder, model.projector])
    )
    assert 0 < seeing < whole
    assert (lewm.parameters, lewm.learnt_parameters, lewm.frozen_parameters) == (whole, 0, 0)
    for row, kept, used in (
        (head, "head.safetensors", whole),
        (idm, "policy-idm.safetensors", seeing),
        (gcivl, "policy-gcivl.safetensors", seeing),
    ):
        assert row.learnt_parameters == stored(run / kept) > 0, row.title
        assert row.parameters == used + row.learnt_parameters, row.title
        assert row.train_seconds[0] > lewm.train_seconds[0], row.title
    for row in bounds:
        assert (row.parameters, row.learnt_parameters, row.frozen_parameters) == (None, None, None), row.title
        assert row.train_seconds == (None,)
        assert (row.embeddings, row.curve) == ((None,), ((),))
        assert row.solved[0] is not None
    shown, *_, explained = tables(found)
    assert "Difference: how much more is solved than by the reference" in explained
    assert list(shown.columns[-1].cells)[-2:] == ["-", "-"]
    assert found.timed_on == (f"cpu, threads: {torch.get_num_threads()}",)
