"""The page of a comparison: what it shows of results, whole and with gaps, its data, and what it replaces."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from lewm.compare import words
from lewm.compare.page import write_comparison
from lewm.compare.result import Comparison
from lewm.errors import LewmError
from lewm.measures.intervals import Estimate
from tests.lewm.compare.example import FAILED, TASKS, comparison
from tests.lewm.page.runs import HOSTILE, Page


@pytest.fixture(scope="module")
def example():
    return comparison()


@pytest.fixture
def page(example, tmp_path):
    return Page(write_comparison(example, tmp_path / "baselines"))


def changed(example, change):
    """The example with every row changed."""
    return replace(
        example,
        worlds=tuple(
            replace(
                world,
                groups=tuple(replace(group, rows=tuple(map(change, group.rows))) for group in world.groups),
            )
            for world in example.worlds
        ),
    )


def table(page, name):
    """A file of numbers as dictionaries."""
    return list(csv.DictReader((page.path.parent / "files" / "two-room" / name).read_text().splitlines()))


def test_what_is_missing_comes_before_all_numbers(page, example):
    beginning = "2 results are not there, and the numbers below are without them. world method seed why two-room PLDM 2"
    assert f"{beginning} {FAILED}" in page.said
    assert page.raw.index('id="missing"') < page.raw.index('class="numbers"') < page.raw.index('id="world-two-room"')
    whole = replace(example, worlds=tuple(replace(world, groups=world.groups[1:]) for world in example.worlds))
    assert "not there" not in Page(write_comparison(whole, page.path.parent)).said


def test_every_row_is_there_with_its_numbers(page, example):
    for world in example.worlds:
        for row in words.rows_of(world):
            low, high = row.success.interval_95
            assert f"{100 * row.success.value:.1f}% ({100 * low:.1f} to {100 * high:.1f})" in page.said, row.title
    (reference, pldm, *_) = example.worlds[0].groups[0].rows
    difference, (low, high) = 100 * pldm.difference.value, pldm.difference.interval_95
    assert f"{difference:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})".replace("-", "−") in page.said
    assert "LeWM (reference)" in page.said
    assert (
        f"PLDM {words.p_value(pldm.p_holm)} {words.share(pldm.improvement)} 12.1 ms {words.times(pldm.ratio)}"
        in page.said
    )
    assert "0.398 M + 0.806 M on its latents" in page.said
    assert f"10 methods, 3 training seeds each, {TASKS} tasks a seed; goals 25 steps ahead" in page.said
    assert f"Random actions: {words.rows_of(example.worlds[0])[4].success.value:.1%}" in page.said
    assert " · ".join(f"{solved}/{TASKS}" for solved, _ in reference.solved) in page.said


def test_a_collapse_is_said_and_drawn_with_the_step_where_it_set_in(page, example):
    said = "λ = 0: collapsed from step 120 on with seed 0, from step 160 on with seed 1, from step 200 on with seed 2."
    assert page.said.count(said) == len(example.worlds)
    rows = table(page, "collapse-std.csv")
    onsets = [row for row in rows if row["line"].endswith("collapse sets in")]
    assert [float(row["training step"]) for row in onsets] == [120, 160, 200]
    assert {row["line"] for row in rows if row["line"].startswith("LeWM")} == {f"LeWM, seed {i}" for i in range(3)}


def test_without_a_collapse_there_is_a_sentence(example, tmp_path):
    alive = changed(example, lambda row: replace(row, collapsed_at=(None,) * 3))
    page = Page(write_comparison(alive, tmp_path / "page"))
    assert page.said.count("The latents of no finished training in this world were collapsed at its end.") == 2
    assert not (tmp_path / "page" / "files" / "two-room" / "collapse-std.csv").exists()


def test_seeds_that_did_not_collapse_are_named(example):
    row = replace(example.worlds[0].groups[1].rows[0], collapsed_at=(None, 160, None))
    assert (
        words.collapses("λ = 0", row)
        == "λ = 0: collapsed from step 160 on with seed 1; not at the end of seed 0 and 2."
    )


def test_the_same_tasks_are_claimed_only_where_they_are_the_same(example):
    world, claim = example.worlds[0], "With the same seed, all methods have the same tasks."
    assert claim in words.compared(world)
    group = world.groups[0]
    other = replace(group.rows[1], tasks_sha256=("other", *group.rows[1].tasks_sha256[1:]))
    world = replace(world, groups=(replace(group, rows=(group.rows[0], other)),))
    assert claim not in words.compared(world)
    assert "Not all methods have the same tasks" in words.compared(world)


def test_a_row_of_fewer_seeds_says_so_and_a_training_has_its_span(page, example):
    pldm = example.worlds[0].groups[0].rows[1]
    assert "PLDM, 2 of 3 seeds" in page.said
    assert "LeWM, 3 of" not in page.said
    least, _, greatest = sorted(example.worlds[0].groups[0].rows[0].train_seconds)
    assert f"({words.seconds(least)} to {words.seconds(greatest)})" in page.said
    assert words.share(Estimate(1.0, (1.0, 1.0))) == "100% (all pairs agree)"
    assert words.trained(replace(pldm, train_seconds=(None,) * 3)) == "-"


def test_a_number_on_an_axis_is_named_with_what_it_is_a_number_of(example):
    (world, *_) = example.worlds
    group = world.groups[1]
    bare = replace(group, rows=tuple(replace(row, title=f"{row.x:g}") for row in group.rows))
    assert "λ = 0 (" in words.findings(bare, world)
    assert words.findings(bare, world) == words.findings(group, world)


def test_a_note_of_the_specification_stands_below_its_table_once(page, example):
    said = "PLDM: Its weights were not tuned. GC-IDM on LeWM's latents: It sees one latent."
    assert page.said.count(said) == len(example.worlds)
    group = example.worlds[0].groups[0]
    alike = replace(group, rows=tuple(replace(row, note="One seed.") for row in group.rows[:2]))
    assert words.notes(alike) == "LeWM, PLDM: One seed."


def test_every_figure_has_its_data(page, example):
    figures = re.findall(r"<figure.*?</figure>|<table.*?</table>", page.raw)
    with_data = [one for one in figures if 'id="missing"' not in one and "why</th>" not in one]
    assert len(with_data) == len(example.worlds) * (
        3 + 2 * 3 + 2 * 2 + 2 + 2
    )  # forests, tables, curves, collapse, embeddings
    assert all('<a class="data" href="files/' in one for one in with_data)
    files = page.linked()
    assert len({file.resolve() for file in files}) == len(files) == len(with_data) + 1
    there = {file for file in (page.path.parent / "files").rglob("*") if file.is_file()}
    assert there == set(files), "nothing lies there that no link leads to"
    result = Comparison.from_dict(json.loads((page.path.parent / "files" / "compare.json").read_text()), "files")
    assert result == Comparison.from_dict(json.loads(json.dumps(example.as_dict())), "the example")


def test_tables_hold_what_the_result_says(page, example):
    rows = example.worlds[0].groups[0].rows
    for found, row in zip(table(page, "1-Baselines.csv"), rows, strict=True):
        assert found["method"] == row.method
        assert float(found["success"]) == row.success.value
        assert float(found["success high"]) == row.success.interval_95[1]
        assert found["p holm"] == ("" if row.p_holm is None else str(row.p_holm))
    assert table(page, "1-Baselines.csv")[1]["missing"] == f"; ; {FAILED}"
    (pldm,) = (one for one in table(page, "1-Baselines-settings.csv") if one["method"] == "pldm")
    assert (pldm["parameters"], pldm["setting"], pldm["value"]) == ("1204312", "train.objective.kind", "pldm")
    curve = table(page, "2-Weight-of-SIGReg-curve.csv")
    assert [float(one["λ"]) for one in curve[:4]] == [0, 1, 2, 3], "at equal distances"
    by_x = example.worlds[0].groups[1].rows
    solved = "Weight of SIGReg: solved tasks"
    assert [float(one[solved]) for one in curve[:4]] == [100 * row.success.value for row in by_x]


def test_the_embeddings_of_a_collapsed_method_do_not_look_full(page, example):
    """Scaled directions alone would hide that they have hardly any spread."""
    rows = {row["name"]: row for row in table(page, "embeddings.csv")}
    collapsed, healthy = rows["Weight of SIGReg: λ = 0, collapsed"], rows["LeWM"]
    assert float(collapsed["Standard deviation"]) < 0.01 < 0.9 < float(healthy["Standard deviation"])
    cover = {
        row["name"]: float(row["Mutual coverage in all directions"]) for row in table(page, "embeddings-cover.csv")
    }
    assert cover["Weight of SIGReg: λ = 0, collapsed"] < cover["LeWM"]
    expected = example.worlds[0].groups[0].rows[0].embeddings
    spread = sum(one["mean_variance"] ** 0.5 for one in expected) / len(expected)
    assert float(healthy["Standard deviation"]) == pytest.approx(spread)


def test_the_reference_is_a_line_in_both_panels_over_an_axis(page, example):
    for panel in ("curve", "rank"):
        lines = {row["line"] for row in table(page, f"2-Weight-of-SIGReg-{panel}.csv")}
        assert "LeWM" in lines, panel
    assert page.said.count("The values of λ stand at equal distances") == len(example.worlds)


def test_lines_for_the_bounds_and_the_reference_cross_all_rows(page):
    forest = re.findall(r'<table class="forest">.*?</table>', page.raw)[0]
    rows = re.findall(r"<tbody>.*</tbody>", forest)[0]
    assert rows.count('class="mark bound"') == 2 * 6
    assert rows.count('class="mark ours"') == 6
    assert len(set(re.findall(r'class="mark bound" x1="([0-9.]+)%"', rows))) == 2
    assert rows.count('class="mark zero"') == 6


def test_numbers_have_the_places_that_the_axis_says(page, example):
    forest = re.findall(r'<table class="forest">.*?</table>', page.raw)[0]
    axis = forest.split("<tfoot")[1].partition("</svg>")[0]
    numbers = re.findall(r'<text x="([0-9.]+)%" y="12" text-anchor="middle">([0-9]+)</text>', axis)
    places = {number: float(x) for x, number in numbers}
    width = places["100"] - places["0"]
    dots = re.findall(r'<circle cx="([0-9.]+)%"', forest)
    rows = example.worlds[0].groups[0].rows
    expected = [places["0"] + width * row.success.value for row in rows]
    assert [float(dots[0]), *map(float, dots[1::2])] == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(
    ("p_holm", "interval", "said"),
    [
        (0.01, (-0.3, -0.1), "Fewer tasks than LeWM solve: PLDM (−20.0 points)"),
        (0.06, (-0.3, -0.1), "Not told apart from LeWM: PLDM"),
        (0.01, (-0.5, 0.1), "Not told apart from LeWM: PLDM"),
    ],
)
def test_methods_are_told_apart_where_test_and_interval_say_so(example, p_holm, interval, said):
    group = example.worlds[0].groups[0]
    reference, pldm, *_ = group.rows
    changed = replace(pldm, p_holm=p_holm, difference=Estimate(-0.2, interval))
    group = replace(group, rows=(reference, changed))
    assert said in words.findings(group, replace(example.worlds[0], groups=(group,)))


def test_the_reference_under_another_title_is_known_as_such(example, tmp_path):
    (world, *_) = example.worlds
    reference, lambdas = world.groups[0].rows[0], world.groups[1]
    same = replace(lambdas.rows[2], plans=reference.plans, runs=reference.runs)
    again = replace(lambdas, rows=(*lambdas.rows[:2], same, *lambdas.rows[3:]))
    world = replace(world, groups=(world.groups[0], again, world.groups[2]))
    page = Page(write_comparison(replace(example, worlds=(world,)), tmp_path / "page"))
    assert "λ = 0.09 (reference)" in page.said
    assert "λ = 0.09" not in words.findings(again, world)
    assert "9 methods, 3 training seeds each" in page.said
    names = [row["name"] for row in table(page, "embeddings.csv")]
    assert names[0] == "LeWM", "the reference, by its own title, comes first"
    assert "Weight of SIGReg: λ = 0.09" not in names
    assert "Weight of SIGReg: λ = 0.5" in names


def test_the_reference_has_its_own_title_where_a_group_before_its_own_has_it_under_another(example, tmp_path):
    (world, *_) = example.worlds
    reference, lambdas = world.groups[0].rows[0], world.groups[1]
    placed = replace(reference, title="λ = 0.09", x=0.09)
    first = replace(lambdas, rows=(*lambdas.rows[:2], placed, *lambdas.rows[3:]))
    world = replace(world, groups=(first, world.groups[0], world.groups[2]))
    assert words.reference_of(world).title == "LeWM"
    assert [name for name, _ in words.named_rows(world)][:2] == ["LeWM", "PLDM"]
    assert "Weight of SIGReg: λ = 0.5" in [name for name, _ in words.named_rows(world)]
    page = Page(write_comparison(replace(example, worlds=(world,)), tmp_path / "page"))
    assert "than LeWM solve" in page.said
    assert "than λ = 0.09" not in page.said


def test_of_many_collapsed_methods_it_is_said_which_are_drawn(example, tmp_path):
    (world, *_) = example.worlds
    lambdas = world.groups[1]
    collapsed = lambdas.rows[0]
    rows = tuple(replace(collapsed, method=row.method, title=row.title, runs=row.runs) for row in lambdas.rows)
    world = replace(world, groups=(world.groups[0], replace(lambdas, rows=rows)))
    page = Page(write_comparison(replace(example, worlds=(world,)), tmp_path / "page"))
    assert "The first 3 of these 4 methods are drawn." in page.said
    lines = {row["line"].rpartition(", seed")[0] for row in table(page, "collapse-std.csv")}
    assert lines >= {"Weight of SIGReg: λ = 0", "Weight of SIGReg: λ = 0.01", "LeWM"}


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0123, "12.3 ms"), (0.9997, "1 s"), (89.0, "89 s"), (None, "-")],
)
def test_a_time_has_the_unit_that_suits_it(value, said):
    assert words.seconds(value) == said


def test_a_large_ratio_has_its_digits():
    assert words.times(Estimate(1043.2, (899.6, 1210.0))) == "1,043 × (900 to 1,210)"


def nothing(row):
    """The row of a method of which nothing is there yet."""
    return replace(
        row,
        **dict.fromkeys(
            ("success", "difference", "p", "p_holm", "improvement", "seconds_per_plan", "ratio", "parameters")
        ),
        **dict.fromkeys(("solved", "tasks_sha256", "train_seconds", "embeddings", "collapsed_at", "runs"), (None,) * 3),
        plans=(None,) * 3,
        curve=((),) * 3,
        missing=("not done yet",) * 3,
        learnt_parameters=None,
        frozen_parameters=None,
    )


def test_a_comparison_that_has_just_begun_has_a_page(example, tmp_path):
    begun = replace(changed(example, nothing), seconds=0.0)
    page = Page(write_comparison(begun, tmp_path / "page"))
    assert "72 results are not there, and the numbers below are without them. The first 20 are named." in page.said
    assert "10 methods" in page.said


def test_numbers_that_are_not_finite_have_no_place_and_stop_nothing(example, tmp_path):
    odd = changed(example, lambda row: replace(row, ratio=Estimate(float("nan"), (float("nan"), float("inf")))))
    assert "nan ×" in Page(write_comparison(odd, tmp_path / "page")).said


@pytest.mark.parametrize("odd", [{}, {"effective_rank": 3.5}, {"effective_rank": "x", "cover_used": 5}])
def test_embeddings_of_other_versions_show_what_is_known(example, tmp_path, odd):
    others = changed(example, lambda row: replace(row, embeddings=(odd,) * 3))
    page = Page(write_comparison(others, tmp_path / "page"))
    assert ("3.5 (3.5 to 3.5)" in page.said) == (odd.get("effective_rank") == 3.5)


def test_names_are_text(example, tmp_path):
    hostile = replace(
        changed(example, lambda row: replace(row, title=HOSTILE, missing=(HOSTILE, "", ""))),
        name=HOSTILE,
        title=HOSTILE,
    )
    hostile = replace(
        hostile,
        spec={HOSTILE: HOSTILE},
        machine={"cpu": HOSTILE},
        worlds=tuple(
            replace(world, world=HOSTILE, groups=tuple(replace(g, title=HOSTILE, axis=HOSTILE) for g in world.groups))
            for world in hostile.worlds[:1]
        ),
    )
    for single_file in (False, True):
        page = Page(write_comparison(hostile, tmp_path / "page", single_file))
        assert "script" not in page.elements
        assert page.said.count(HOSTILE) > 20


def test_one_file_holds_all_data(example, page, tmp_path):
    single = Page(write_comparison(example, tmp_path / "one", single_file=True))
    assert [file.name for file in (tmp_path / "one").iterdir()] == ["baselines.html"]
    assert single.said == page.said
    links = [one for one in single.elements["a"] if not one["href"].startswith("#")]
    assert all(one["href"].startswith("data:") and one["download"] for one in links)
    assert len(links) == len(page.linked())
    assert "http" not in single.raw + page.raw
    assert not {"script", "iframe", "form", "img", "object"} & (set(single.elements) | set(page.elements))


def test_it_is_said_in_words_what_the_numbers_mean(page):
    for word in ("Solved", "Difference", "p", "P(better)", "Decision", "Training", "Parameters", "Collapse"):
        assert f"<dt>{word}</dt>" in page.raw
    assert page.elements["html"] == [{"lang": "en"}]
    assert all(one.get("aria-label") for one in page.elements["svg"] if one.get("class") == "chart")
    anchors = {one["id"] for one in page.elements["section"]} - {"missing"}
    assert {one["href"][1:] for one in page.elements["a"] if one["href"].startswith("#")} == anchors
    assert "lewm compare baselines" in page.said


def test_an_earlier_page_is_replaced_and_what_is_beside_it_stays(example, tmp_path):
    out = tmp_path / "page"
    write_comparison(example, out)
    (out / "compare.json").write_text("{}")
    (out / "notes.txt").write_text("mine")
    one = replace(example, worlds=example.worlds[:1])
    write_comparison(one, out)
    assert {path.name for path in (out / "files").iterdir()} == {"two-room", "compare.json"}
    assert {path.name for path in out.iterdir()} == {"index.html", "files", "compare.json", "notes.txt"}
    assert (out / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(("name", "single"), [("files", False), ("index.html", False), ("baselines.html", True)])
def test_what_is_no_page_of_a_comparison_is_not_replaced(example, tmp_path, name, single):
    (tmp_path / name).write_text("years of work")
    with pytest.raises(
        LewmError, match=f"{re.escape(name)}: is not part of a comparison's page, so it is not replaced"
    ):
        write_comparison(example, tmp_path, single)
    assert (tmp_path / name).read_text() == "years of work"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_page_that_was_interrupted_before_its_files_is_made_again(example, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("lewm.compare.page.put_folder", full)
        with pytest.raises(OSError, match="No space left"):
            write_comparison(example, tmp_path / "page")
    assert len(Page(write_comparison(example, Path(tmp_path / "page"))).linked()) > 20
    assert {path.name for path in (tmp_path / "page").iterdir()} == {"index.html", "files"}
