"""CONTRIBUTING.md explains how to add to each table of kinds."""

import ast
import re
from pathlib import Path

import pytest

from lewm.config import Cost, Encoder, Objective, Planner, Predictor, Sigreg
from lewm.model.assembly import ENCODERS, PREDICTORS
from lewm.planning.costs import COSTS
from lewm.planning.planners import PLANNERS
from lewm.training.objectives import OBJECTIVES
from lewm.training.objectives.sigreg import SIGREGS

ROOT = Path(__file__).parents[2]
TABLES = {
    "PLANNERS": (PLANNERS, Planner),
    "COSTS": (COSTS, Cost),
    "OBJECTIVES": (OBJECTIVES, Objective),
    "SIGREGS": (SIGREGS, Sigreg),
    "ENCODERS": (ENCODERS, Encoder),
    "PREDICTORS": (PREDICTORS, Predictor),
}
MORE = ("WORLDS", "OPERATORS", "RECIPES", "POLICIES")  # tables of what has no section in the configuration


def sections():
    """Those under headings that begin with "Add a"."""
    parts = re.split(r"^##+ ", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.M)
    return {title: text for title, _, text in (part.partition("\n") for part in parts) if title.startswith("Add a")}


@pytest.mark.parametrize("table", [*TABLES, *MORE])
def test_every_table_has_an_entry(table):
    named = [title for title, text in sections().items() if f"`{table}`" in text]
    assert len(named) == 1


def test_no_slot_of_the_configuration_is_left_out():
    """A section that is one of several kinds is a slot; a table of its kinds is in this test."""
    unions = set()
    for path in (ROOT / "lewm/config").glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and any(isinstance(b, ast.Name) and b.id == "Kind" for b in node.bases):
                unions.add(node.name)
    assert unions == {union.__name__ for _, union in TABLES.values()}


@pytest.mark.parametrize("table", TABLES)
def test_every_kind_has_a_section_and_a_line(table):
    kinds, union = TABLES[table]
    assert set(kinds) == set(union.kinds)


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("extend_*.py")), ids=lambda path: path.stem)
def test_the_examples_are_named(example):
    assert any(f"`examples/{example.name}`" in text for text in sections().values())
