"""The course of training beside that of the runs that come with lewm: charts, sentences, and where there are none."""

import csv
import itertools
import json
import math
import re
from html import escape

import pytest

from lewm.checkpoints.run import DatasetIdentity, write_config
from lewm.curves import committed
from lewm.curves.committed import committed_curves
from lewm.page.chart import Axes, Line, chart, kept_chart
from lewm.page.command import write_page
from lewm.page.course import _of_run, over_training
from lewm.page.shelf import FolderShelf
from lewm.report_files import write_report
from lewm.training.metrics import NUMBERS
from lewm_data.envs.registry import WORLDS


def curve(seed, rates, correlations=(0.5, 0.7)):
    """A curve of two stages, with a point at the end of each."""
    points = [
        {
            "stage": stage,
            "step": step,
            "train_seconds": 10.0,
            "plan": {
                "success_rate": rate,
                "episodes": 200,
                "protocol": "held-out",
                "goal_offset": 25,
                "budget": 50,
                "planner": {"agent": "planner"},
            },
            "r2": {},
            "effective_rank": 10 * rate,
            "distance_correlation": correlation,
            "open_loop": None,
        }
        for stage, step, rate, correlation in zip(("encoder", "dynamics"), (200, 100), rates, correlations, strict=True)
    ]
    return {"world": "two-room", "seed": seed, "data": {}, "points": points, "oracle": None}


@pytest.fixture
def ship(tmp_path, monkeypatch):
    """Makes curves the ones that come with lewm."""
    folder = tmp_path / "curves"
    folder.mkdir()
    monkeypatch.setattr(committed, "FOLDER", folder)

    def put(*curves):
        (folder / "two-room.json").write_text(json.dumps({"results": curves}))

    return put


@pytest.fixture
def run(tmp_path, tiny):
    """A run with metrics, whose health was measured twice, and a plan."""
    directory = tmp_path / "mine"
    write_config(directory, tiny, DatasetIdentity("/data/rooms.h5", "ef" * 32, (16, 16), 20, "two-room"))
    lines = [dict.fromkeys(NUMBERS, 1.0) | {"step": step, "terms": {"prediction": 0.5}} for step in (100, 200, 250)]
    for line, rank in zip(lines[:2], (2.0, 4.0), strict=True):
        line["health"] = dict.fromkeys(("std_min", "std_mean", "sigreg"), 1.0) | {
            "effective_rank": rank,
            "distance_correlation": 0.25,
            "curve": [],
        }
    (directory / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_plan(directory)
    return directory


class Plan:
    def __init__(self, **changed):
        agent = {"successes": 5, "episodes": 10, "interval_95": [0.24, 0.76], "latent_distance": None}
        self.content = {
            **agent,
            "success_rate": 0.5,
            "success": "judged by states",
            "tasks": [],
            "random": {**agent, "success_rate": 0.1},
            "protocol": "held-out",
            "goal_offset": 25,
            "budget": 50,
            "discarded_solved": 0,
            "tasks_sha256": "ab" * 32,
            "seconds_per_plan": 0.1,
            "planner": {
                "method": "LeWM",
                "agent": "planner",
                "warm_start": "off",
                "planner": {"kind": "cem"},
                "cost": {"kind": "last"},
                "horizon": 5,
                "execute": 5,
                "context": 1,
            },
            "checkpoint_sha256": "cd" * 32,
        } | changed

    def as_dict(self):
        return self.content


def write_plan(directory, **changed):
    write_report(directory / "plan-20260101-000000.json", Plan(**changed))


def page(run):
    text = (run / "report" / "index.html").read_text() if write_page(run) else ""
    titles = re.findall(r"<figcaption>(.*?) <a ", text)
    return text, titles


SPREAD, RANK, FOLLOWS = (
    "Mean standard deviation of the latents, held-out data",
    "Effective rank of the latents",
    "Rank correlation of latent distance and the shortest path in the world",
)


def test_a_run_is_drawn_beside_the_committed_curves(run, ship):
    ship(curve(0, (0.3, 0.8)), curve(1, (0.4, 0.7)))
    text, titles = page(run)
    assert titles == [SPREAD, RANK, FOLLOWS, "Solved tasks"]
    for words in (
        "This run solved 50.0% of its tasks (24.0% to 76.0%).",
        "the runs of this world that come with lewm solved 80.0%, 70.0%.",
        "had an effective rank of 8.0, 7.0.",
    ):
        assert words in text, words
    assert text.count('<g class="theirs">') == 12, "two stages of two curves in each of three charts but the first"
    assert text.count('<g class="ours">') == 5, "three lines, a dot, and its interval"


def test_a_world_without_a_committed_curve_shows_nothing(run, ship):
    text, titles = page(run)
    assert titles == [SPREAD, RANK, FOLLOWS]
    assert "come with lewm" not in text


@pytest.mark.parametrize("changed", [{"goal_offset": 100}, {"budget": 150}, {"protocol": "paper"}])
def test_success_on_tasks_of_another_kind_is_not_compared(run, ship, changed):
    ship(curve(0, (0.3, 0.8)))
    write_plan(run, **changed)
    text, titles = page(run)
    assert titles == [SPREAD, RANK, FOLLOWS]
    assert (
        "the tasks of the run of this world that comes with lewm have goals 25 steps ahead and a budget of 50" in text
    )


@pytest.mark.parametrize(
    ("agent", "told"),
    [
        ("idm", "a policy (GC-IDM)"),
        ("gcbc", "a policy (GCBC)"),
        ("random", "chance"),
        ("expert", "the world's demonstrator"),
    ],
)
def test_success_of_another_kind_of_agent_is_not_compared(run, ship, agent, told):
    ship(curve(0, (0.3, 0.8)))
    write_plan(run, planner=Plan().content["planner"] | {"agent": agent})
    text, titles = page(run)
    assert titles == [SPREAD, RANK, FOLLOWS]
    beside = "in the run of this world that comes with lewm a search."
    assert f"Success is not compared: here {escape(told)} acts, and {beside}" in text


def test_success_of_other_weights_is_not_compared(run, ship, monkeypatch):
    ship(curve(0, (0.3, 0.8)))
    monkeypatch.setattr("lewm.page.plans.other_weights", lambda path, report: "<p>other weights</p>")
    text, titles = page(run)
    assert titles == [SPREAD, RANK, FOLLOWS]
    assert "other weights" in text


def test_a_run_without_a_plan_has_its_metrics_beside_them(run, ship):
    ship(curve(0, (0.3, 0.8)))
    (run / "plan-20260101-000000.json").unlink()
    text, titles = page(run)
    assert titles == [SPREAD, RANK, FOLLOWS]
    assert text.count('<g class="ours">') == 3


def test_a_world_without_distances_has_no_chart_of_them(run, ship):
    ship(curve(0, (0.3, 0.8), correlations=(None, None)))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line in lines[:2]:
        line["health"]["distance_correlation"] = None
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert page(run)[1] == [SPREAD, RANK, "Solved tasks"]


def spread(run, *values):
    """Gives the run these standard deviations, a check each, 100 steps apart."""
    line = json.loads((run / "metrics.jsonl").read_text().splitlines()[0])
    lines = [line | {"step": 100 * i, "health": line["health"] | {"std_mean": std}} for i, std in enumerate(values, 1)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_collapse_is_said_with_the_step_where_it_set_in(run):
    spread(run, 0.8, 0.02, 0.7, 0.03, 0.01)
    text, titles = page(run)
    assert "Collapsed from step 400 on: at step 500 the mean standard deviation of the latents is 0.01" in text
    assert titles[:2] == [SPREAD, RANK]


def numbers_on_top(run):
    text, _ = page(run)
    (top,) = re.findall(r'<dl class="numbers">(.*?)</dl>', text)
    return top


def test_a_collapse_is_the_first_number_of_the_page_and_no_other_hides_it(run):
    spread(run, 0.8, 0.7)
    assert "effective rank</dt>" in numbers_on_top(run)
    spread(run, 0.8, 0.02, 0.01)
    top = numbers_on_top(run)
    told = "from step 200 on; at the end their mean standard deviation is 0.01"
    assert top.startswith(
        f'<div class="warning"><dt>the latents are</dt><dd><b>collapsed</b><span>{told}</span></dd></div>'
    )
    assert top.count("warning") == 1
    assert "effective rank</dt>" not in top


@pytest.mark.parametrize("values", [(0.9, 0.8), (0.01, 0.9), (0.9, 0.01, 0.9)])
def test_latents_that_are_well_at_the_end_are_not_called_collapsed(run, values):
    spread(run, *values)
    assert "Collapsed" not in page(run)[0]


def test_points_of_a_chart_are_kept_as_numbers(run, ship):
    ship(curve(0, (0.3, 0.8)))
    page(run)
    files = run / "report" / "files"
    rows = list(csv.reader((files / "planning" / "success.csv").read_text().splitlines()))
    assert rows[0] == ["line", "training step", "Solved tasks", "interval_low", "interval_high"]
    assert rows[1][0] == "this run"
    assert list(map(float, rows[1][2:])) == pytest.approx([50, 24, 76])
    assert ["what comes with lewm, seed 0, stage encoder", "200.0", "30.0", "", ""] in rows
    ranks = list(csv.reader((files / "training" / "effective_rank.csv").read_text().splitlines()))
    assert [row[2] for row in ranks if row[0].startswith("this run")] == ["2.0", "4.0"]


def test_steps_of_a_stage_follow_those_of_the_stage_before():
    assert over_training([("encoder", 100), ("encoder", 200), ("dynamics", 50), ("dynamics", 100)]) == [
        100,
        200,
        250,
        300,
    ]
    assert over_training([(None, 10), (None, 20)]) == [10, 20]


def test_each_stage_has_a_line_of_its_own():
    health = [{"health": {"effective_rank": rank}} for rank in (2.0, 3.0, 9.0)]
    staged = [
        {"stage": "places", "step": 100, **health[0]},
        {"stage": "places", "step": 200, **health[1]},
        {"step": 50},
        {"step": 150, **health[2]},
    ]
    points = [line.points for line in _of_run(staged, "effective_rank")]
    assert points == [((100.0, 2.0), (200.0, 3.0)), ((350.0, 9.0),)]


def places(svg, kind):
    (path,) = re.findall(rf'<g class="{kind}"><polyline points="(.*?)">', svg)
    return [tuple(map(float, pair.split(","))) for pair in path.split()]


def test_lines_go_where_the_numbers_of_the_axes_say():
    svg = chart("a", [Line(((0.0, 0.0), (500.0, 50.0), (1000.0, 100.0)), "ours")], Axes(unit=" %"))
    numbers = dict(re.findall(r'<text x="([0-9.]+)" y="[0-9.]+" text-anchor="middle">([0-9.k]+)</text>', svg))
    assert list(numbers.values()) == ["0", "200", "400", "600", "800", "1k"]
    (left, bottom), middle, (right, top) = places(svg, "ours")
    assert (left, right) == (float(min(numbers, key=float)), float(max(numbers, key=float)))
    assert middle == ((left + right) / 2, (top + bottom) / 2)
    assert top < bottom, "100 % is above 0 %"
    labels = re.findall(r'y="([0-9.]+)" text-anchor="end">([0-9]+) %</text>', svg)
    assert [number for _, number in labels] == ["0", "20", "40", "60", "80", "100"]
    assert float(labels[-1][0]) == top + 4


def test_ours_is_drawn_last_above_the_others():
    svg = chart("a", [Line(((0.0, 1.0), (1.0, 2.0)), "ours"), Line(((0.0, 2.0), (1.0, 1.0)), "theirs")])
    assert svg.index('class="theirs"') < svg.index('class="ours"')


@pytest.mark.parametrize("value", [0.0, -0.3, 1e-9, 1e300, 2.0**53])
def test_every_number_has_a_place_within_the_drawing(value):
    svg = chart("a", [Line(((1.0, value),), "ours")])
    ((x, y),) = places(svg, "ours")
    assert 0 <= x <= 320
    assert 0 <= y <= 200


def test_what_is_not_finite_is_left_out():
    assert chart("a", [Line(((1.0, math.nan), (2.0, math.inf)), "ours")]) == ""
    assert len(places(chart("a", [Line(((1.0, math.nan), (2.0, 3.0)), "ours")]), "ours")) == 1


def test_an_axis_of_powers_has_equal_steps_for_equal_ratios():
    points = tuple((float(x), 10.0**-x) for x in range(4))
    svg = chart("a", [Line(points, "ours")], Axes(powers=True))
    heights = [y for _, y in places(svg, "ours")]
    assert [b - a for a, b in itertools.pairwise(heights)] == pytest.approx([heights[1] - heights[0]] * 3, abs=0.11)
    assert re.findall(r'text-anchor="end">([0-9.]+)<', svg) == ["0.001", "0.01", "0.1", "1"]


def test_zero_lies_at_the_lower_end_of_an_axis_of_powers_below_all_others():
    svg = chart("a", [Line(((0.0, 1.0), (1.0, 0.1), (2.0, 0.0)), "ours")], Axes(powers=True))
    heights = [y for _, y in places(svg, "ours")]
    assert heights == sorted(set(heights))
    assert re.findall(r'y="([0-9.]+)" text-anchor="end">0.01<', svg) == [f"{heights[2] + 4}"]


def test_zeros_alone_have_no_axis_of_powers_and_no_file(tmp_path):
    shelf = FolderShelf(tmp_path, "files")
    assert kept_chart(shelf, "a", "a", [Line(((0.0, 0.0), (1.0, 0.0)), "ours")], Axes(powers=True)) == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("values", [(1.0,), (0.2, 0.3), (1e-300, 1e300), (1e-9, 1.0)])
def test_an_axis_of_powers_has_few_numbers(values):
    svg = chart("a", [Line(tuple((float(x), y) for x, y in enumerate(values)), "ours")], Axes(powers=True))
    assert 2 <= len(re.findall(r'text-anchor="end">', svg)) <= 7
    assert all(0 <= y <= 200 for _, y in places(svg, "ours"))


@pytest.mark.parametrize(("top", "labels"), [(2e-4, ["0", "5e-05", "1e-04", "1.5e-04", "2e-04"]), (0.2, ["0", "0.05"])])
def test_small_numbers_beside_the_axis_are_short_and_right(top, labels):
    svg = chart("a", [Line(((0.0, 0.0), (1.0, top)), "ours")])
    assert re.findall(r'text-anchor="end">([^<]+)<', svg)[: len(labels)] == labels


def test_names_stand_where_their_points_are_and_bars_where_the_intervals_end():
    axes = Axes(across="λ", names=("0", "0.1", "0.5"))
    line = Line(
        ((0.0, 10.0), (1.0, 20.0), (2.0, 10.0)), "ours", intervals=((5.0, 15.0), None, (0.0, 20.0)), marks="all"
    )
    svg = chart("a", [line], axes)
    drawn = [
        [tuple(map(float, pair.split(","))) for pair in path.split()]
        for path in re.findall(r'<g class="ours"><polyline points="(.*?)">', svg)
    ]
    numbers = re.findall(r'<text x="([0-9.]+)" y="[0-9.]+" text-anchor="middle">(.*?)</text>', svg)
    assert [(float(x), name) for x, name in numbers[:3]] == list(zip((x for x, _ in drawn[0]), axes.names, strict=True))
    assert len(drawn) == 3, "the line, and two bars"
    assert [x for x, _ in drawn[1]] == [drawn[0][0][0]] * 2
    assert drawn[2][1][1] == drawn[0][1][1], "20 is as high in a bar as in the line"


def test_a_title_is_escaped():
    assert "<b>" not in chart("<b>", [Line(((1.0, 1.0),), "ours")])


@pytest.mark.parametrize("world", WORLDS)
def test_the_curves_that_come_with_lewm_are_of_their_world(world):
    assert all(curve.world == world and curve.points for curve in committed_curves(world))
