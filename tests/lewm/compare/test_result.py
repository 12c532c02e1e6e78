"""compare.json: what is written is read back, and what is not one of these is refused."""

from dataclasses import replace

import pytest

from lewm.compare.result import JSON, OF_EACH_SEED, Comparison, Group, Row, WorldResult, read_comparison
from lewm.errors import LewmError
from lewm.measures.intervals import Estimate
from lewm.report_files import write_report

ROW = Row(
    method="narrow",
    title="8 numbers",
    x=8.0,
    note="Narrow.",
    settings={"train.model.latent": 8},
    seeds=(0, 1),
    solved=((3, 4), None),
    tasks_sha256=("ab", None),
    success=Estimate(0.75, (0.25, 1.0)),
    difference=Estimate(-0.25, (-0.5, 0.0)),
    paired_seeds=(0,),
    unpaired="seed 1: not there yet",
    p=0.5,
    p_holm=1.0,
    improvement=None,
    seconds_per_plan=0.01,
    ratio=Estimate(1.5, (1.25, 1.75)),
    train_seconds=(12.5, None),
    parameters=100,
    learnt_parameters=0,
    frozen_parameters=0,
    embeddings=({"effective_rank": 3.5}, None),
    collapsed_at=(None, None),
    curve=(((10, 1.0, 3.5), (20, 1.5, 4.0)), ()),
    runs=("runs/two-room/lewm-1/seed-0", None),
    plans=("runs/two-room/lewm-1/seed-0/plan-1.json", None),
    missing=("", "not trained yet"),
)
WORLD = WorldResult("two-room", "lewm", "LeWM", 4, 25, 50, {"frames": 100}, (Group("Width", "numbers", (ROW,)),))
COMPARISON = Comparison(
    name="own",
    title="Own",
    made="2026-01-01 00:00",
    call=("compare", "own.toml"),
    seconds=60.0,
    elapsed=40.0,
    versions={"lewm": ("1",)},
    timed_on=("cpu, threads: 1",),
    machine={"cores": 2},
    spec={"seeds": [0, 1]},
    worlds=(WORLD,),
)


def test_what_is_written_is_read_back(tmp_path):
    write_report(tmp_path / JSON, COMPARISON)
    assert read_comparison(tmp_path / JSON) == COMPARISON


def test_numbers_that_are_not_finite_are_read_as_none(tmp_path):
    row = replace(ROW, seconds_per_plan=float("nan"))
    world = replace(WORLD, groups=(Group("Width", None, (row,)),))
    write_report(tmp_path / JSON, replace(COMPARISON, worlds=(world,)))
    assert read_comparison(tmp_path / JSON).worlds[0].groups[0].rows[0].seconds_per_plan is None


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"worlds": [{"world": "two-room"}]}, "worlds.0.reference"),
        ({"seconds": "long"}, "seconds"),
        ({"spec": None}, "spec"),
    ],
)
def test_other_content_is_refused_with_its_key(change, key):
    with pytest.raises(LewmError, match=rf"^file: {key}: "):
        Comparison.from_dict(COMPARISON.as_dict() | change, "file")


@pytest.mark.parametrize("key", OF_EACH_SEED)
def test_a_list_that_has_not_an_entry_for_each_seed_is_refused(key):
    content = COMPARISON.as_dict()
    row = content["worlds"][0]["groups"][0]["rows"][0]
    row[key] = row[key][:1]
    with pytest.raises(LewmError, match=rf"^file: worlds.0.groups.0.rows.0.{key}: 1 entries for 2 seeds"):
        Comparison.from_dict(content, "file")


def test_a_file_that_was_changed_is_refused(tmp_path):
    write_report(tmp_path / JSON, COMPARISON)
    text = (tmp_path / JSON).read_text()
    (tmp_path / JSON).write_text(text.replace("8 numbers", "9 numbers"))
    with pytest.raises(LewmError, match="changed after it was written"):
        read_comparison(tmp_path / JSON)
