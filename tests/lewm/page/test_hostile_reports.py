"""Reports that are damaged, foreign or hostile, on the page of a run."""

import os

import pytest

from lewm.page.command import write_page
from lewm.page.media import LARGEST
from lewm.report_files import new_report, read_report, write_report
from tests.lewm.page.runs import HOSTILE, Content, Page, fill, plan_report, probe_report, surprise_report

DAMAGED = {
    "empty": b" ",
    "cut": b"{",
    "list": b"[]",
    "text": b'"text"',
    "no checksum": b'{"success_rate": 1}',
    "not UTF-8": b"\xff",
    "NaN": b'{"success_rate": NaN, "sha256": ""}',
    "infinite": b'{"success_rate": 1e999, "sha256": ""}',
    "digits": b'{"success_rate": ' + b"9" * 6000 + b', "sha256": ""}',
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_report_is_one_line_of_the_page(finished, content):
    (finished / "plan-20260103-000000.json").write_bytes(content)
    page = Page(write_page(finished).page)
    assert page.said.count("plan-20260103-000000.json is not shown: ") == 1
    assert "reached by LeWM" not in page.said
    assert "agent, trained encoder 0.013 0.987" in page.said


def test_a_report_that_was_changed_shows_no_number(finished):
    path = finished / "plan-20260102-000000.json"
    assert read_report(path)["successes"] == 6
    path.write_text(path.read_text().replace('"successes": 6', '"successes": 8'))
    page = Page(write_page(finished).page)
    assert "plan-20260102-000000.json is not shown: damaged, or changed after it was written" in page.said
    assert f"make it again: lewm plan --video mp4 --run {finished}" in page.said
    assert "8 of 8" not in page.said


@pytest.mark.parametrize(
    "change",
    [
        {"success_rate": "0.5"},
        {"success_rate": [[0.5]]},
        {"successes": {"a": 1}, "interval_95": None},
        {"interval_95": [0.25]},
        {"random": 7},
        {"planner": []},
        {"planner": plan_report(6)["planner"] | {"planner": {"kind": 5}}},
        {"planner": plan_report(6)["planner"] | {"cost": "last"}},
        {"planner": plan_report(6)["planner"] | {"horizon": None}},
        {"budget": None, "seconds_per_plan": "x"},
        {"tasks_sha256": 5},
    ],
)
def test_a_report_of_other_types_is_one_line_of_the_page(finished, change):
    fill(finished, "plan-20260103-000000", ["episode-0000.mp4"], {**plan_report(6), **change})
    page = Page(write_page(finished).page)
    assert "plan-20260103-000000.json is not shown: not as this version of lewm writes it" in page.said
    assert "reached by LeWM" not in page.said


def test_a_number_that_is_not_known_is_a_dash(run):
    report = probe_report()
    report["probed"][0]["mlp"] = {score: {"value": float("nan"), "interval_95": [0, 0]} for score in ("mse", "r")}
    fill(run, "probe-20260101-000000", [], report)
    assert "agent, trained encoder 0.013 0.987 - -" in Page(write_page(run).page).said


def test_the_newest_of_one_second_is_the_one_with_the_greatest_number(run):
    for number in ("", "-2", "-10", "-9"):
        fill(run, f"plan-20260101-000000{number}", [], plan_report(len(number)))
    assert "plan-20260101-000000-10.json" in Page(write_page(run).page).said


def test_a_claim_is_no_report(run):
    with new_report(run, "plan") as path:
        path.with_suffix("").mkdir()
        (path.with_suffix("") / "episode-0000.mp4").write_text("film")
        assert write_page(run).sections == ("model",)


def test_only_regular_files_inside_the_run_are_shown(finished):
    secret = finished.parent / "secret.png"
    secret.write_text("secret")
    pictures = finished / "probe-20260101-000000"
    (pictures / "link.png").symlink_to(secret)
    (pictures / "nowhere.png").symlink_to(finished / "nothing")
    (pictures / "round.png").symlink_to("round.png")
    (pictures / "inside.png").symlink_to(finished / "training.png")
    (pictures / "folder.png").mkdir()
    os.mkfifo(pictures / "pipe.png")
    with (pictures / "huge.png").open("wb") as file:
        file.truncate(LARGEST + 1)
    (finished / "plan-20260102-000000").rename(finished.parent / "films")
    (finished / "plan-20260102-000000").symlink_to(finished.parent / "films")
    (finished / "training.png").rename(finished.parent / "training.png")
    (finished / "training.png").symlink_to(finished.parent / "training.png")
    (pictures / "inside.png").unlink()
    (pictures / "inside.png").symlink_to("map.png")
    page = Page(write_page(finished).page)
    shown = [file.name for file in page.shown()]
    assert "inside.png" in shown
    assert not {"link.png", "pipe.png", "huge.png", "training.png", "episode-0000.mp4"} & set(shown)
    assert "secret" not in "".join(file.read_text() for file in page.shown())
    named = "at most 128 MiB: folder.png, huge.png, link.png, nowhere.png, pipe.png, round.png."
    assert f"Left out, because not a regular file inside the run of {named}" in page.said
    assert "episode-0000.mp4, episode-0001.mp4" in page.said


def test_numbers_from_outside_the_run_are_not_linked(run):
    (run.parent / "private").mkdir()
    (run.parent / "private" / "notes.csv").write_text("secret")
    fill(run, "decode-20260101-000000", ["rollout.png"], {"held_out": True})
    for picture in (run / "decode-20260101-000000.png", run / "decode-20260101-000000" / "rollout.png"):
        picture.write_text("picture")
        picture.with_suffix(".csv").symlink_to(run.parent / "private" / "notes.csv")
    page = Page(write_page(run).page)
    assert len(page.shown()) == 2
    assert ".csv" not in page.raw
    assert "secret" not in "".join(file.read_text() for file in page.linked())


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "loop"])
def test_a_report_that_is_no_regular_file_is_named(finished, kind):
    path = finished / "plan-20260103-000000.json"
    outside = finished.parent / "outside.json"
    write_report(outside, Content(plan_report(5)))
    if kind == "link":
        path.symlink_to(outside)
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    page = Page(write_page(finished).page)
    assert "plan-20260103-000000.json is not shown: not a regular file inside the run." in page.said
    assert "5 of 8" not in page.said


def test_an_annotated_video_outside_the_run_is_named(run, tmp_path):
    (tmp_path / "passwd.mp4").write_text("secret")
    fill(run, "surprise-20260101-000000", [], surprise_report(out_video=str(tmp_path / "passwd.mp4")))
    page = Page(write_page(run).page)
    assert f"The annotated video is not in the run: {tmp_path / 'passwd.mp4'}" in page.said
    assert page.shown() == []


def test_names_of_reports_and_what_cannot_be_seen_are_text(run):
    for name in (f"plan-2{HOSTILE.replace('/', '')}[a-z]*", os.fsdecode(b"probe-2\xff\x1b[31m\n")):
        report = plan_report(3) if name.startswith("plan") else probe_report()
        fill(run, name, ["a.png", os.fsdecode(b"\xfe\n\"'><i>.png")], report)
    page = Page(write_page(run).page)
    assert not {"script", "i"} & set(page.elements)
    assert "probe-2\\udcff\\x1b[31m\\n.json" in page.said
    assert "3 of 8" in page.said
    assert [file.name for file in page.shown()].count("a.png") == 2
    assert len(page.shown()) == 4
    assert "\x1b" not in page.raw
