"""What the page of a run shows of plans: who acts, what was solved, and which films."""

import pytest

from lewm.page import plans
from lewm.page.command import write_page
from lewm.report_files import read_report
from tests.lewm.page.runs import (
    Page,
    fill,
    plan_report,
    tasks,
)


@pytest.mark.parametrize(
    ("execute", "end", "told"),
    [
        (None, "shrink", "5 executed Context"),
        (5, "fixed", "5 executed Context"),
        (1, "fixed", "1 executed before the next plan, which has as many blocks Context"),
    ],
)
def test_how_much_of_a_plan_is_executed(run, execute, end, told):
    report = plan_report(6)
    report["planner"] |= {"execute": execute, "horizon_end": end, "cost": {"kind": "head", "path": "/home/me/a.pt"}}
    fill(run, "plan-20260101-000000", [], report)
    said = Page(write_page(run).page).said
    assert f"Cost head, path a.pt Search begins anew Horizon 5 blocks, {told} 3 latents" in said


@pytest.mark.parametrize(
    ("agent", "warm_start", "told"),
    [
        ("planner", "off", "Cost last Search begins anew Horizon"),
        ("planner", "idm", "Cost last Search begins at the plan of the run's policy Horizon"),
        ("idm", "off", "Policy GC-IDM, learnt on the run's latents, no search Horizon"),
        ("gcivl", "off", "Policy GCIVL, learnt on the run's latents, no search Horizon"),
    ],
)
def test_who_decides_and_where_a_search_begins(run, agent, warm_start, told):
    report = plan_report(6)
    report["planner"] |= {"agent": agent, "warm_start": warm_start}
    fill(run, "plan-20260101-000000", [], report)
    said = Page(write_page(run).page).said
    assert told in said
    assert ("Cost" in said) == (agent == "planner")


@pytest.mark.parametrize(("agent", "name"), [("random", "random actions"), ("expert", "the world's demonstrator")])
def test_an_agent_that_does_not_plan(run, agent, name):
    report = plan_report(6)
    report["planner"] = {"agent": agent, "seed": 0, "batch": 8}
    if agent == "random":
        report["random"] = None
    fill(run, "plan-20260101-000000", [], report)
    page = Page(write_page(run).page)
    assert f"Agent {name}, no plans" in page.said
    assert "0.12 s an action" in page.said
    assert f"{name} 6 of 8 75.0%" in page.said
    assert page.said.count("random actions 1 of 8") == (agent != "random")


def test_every_agent_keeps_its_newest_plan_and_the_numbers_on_top_are_the_models(run):
    expert = {**plan_report(8), "planner": {"agent": "expert", "seed": 0, "batch": 8}}
    policy = {**plan_report(5), "tasks_sha256": "ef" * 32}
    policy["planner"] = policy["planner"] | {"agent": "gcbc"}
    reports = (plan_report(2), plan_report(6), policy, {**plan_report(7), **expert, "successes": 7}, expert)
    for day, report in enumerate(reports, 1):
        fill(run, f"plan-2026010{day}-000000", [], report)
    result = write_page(run)
    assert result.sections == ("model", "planning", "planning-gcbc", "planning-expert")
    said = Page(result.page).said
    bounds = "the world's demonstrator 8 of 8 100.0% 25.0% to 75.0% random actions 1 of 8 12.5% 25.0% to 75.0%"
    assert f"LeWM + CEM 6 of 8 75.0% 25.0% to 75.0% {bounds}" in said
    assert "LeWM + GCBC 5 of 8 62.5% 25.0% to 75.0% random actions 1 of 8" in said  # the ceiling is of other tasks
    assert said.count("goals reached by") == 2
    tried = "95 %: 25.0% to 75.0%; 8 tasks, goals 25 steps ahead"
    chance = "random actions 12.5%"
    assert f"reached by LeWM + CEM 75.0% {tried}; the world's demonstrator 100.0%; {chance}" in said
    assert f"reached by LeWM + GCBC 62.5% {tried}; {chance}" in said


def test_a_plan_is_not_read_anew_for_every_agent(run, monkeypatch):
    read = []
    monkeypatch.setattr(plans, "read_report", lambda path: read.append(path) or read_report(path))
    for day in range(1, 4):
        fill(run, f"plan-2026010{day}-000000", [], plan_report(day))
    write_page(run)
    assert len(set(read)) == 3
    assert max(map(read.count, read)) <= 3, "to find its agent, to show it, and to look for a ceiling"


def test_a_damaged_plan_hides_no_agent_but_the_search(run):
    fill(run, "plan-20260101-000000", [], {**plan_report(8), "planner": {"agent": "expert", "seed": 0, "batch": 8}})
    (run / "plan-20260102-000000.json").write_text("{")
    (run / "plan-20260103-000000.json").symlink_to(run.parent / "elsewhere")
    result = write_page(run)
    assert result.sections == ("model", "planning", "planning-expert")
    said = Page(result.page).said
    assert "plan-20260103-000000.json is not shown: not a regular file inside the run" in said
    assert "the world's demonstrator 8 of 8" in said


def test_where_success_is_not_known_the_distances_are_shown(run):
    def unknown(start, end):
        known = dict.fromkeys(("success_rate", "successes", "interval_95"))
        return {**known, "episodes": 8, "latent_distance": {"start": start, "end": end}}

    report = {**plan_report(1), **unknown(16.1, 7.16), "random": unknown(16.1, 14.3), "goal_offset": None}
    report["tasks"] = tasks([None] * 3, apart=[2.0, 9.0, 5.0])
    report["success"] = "not known, because it says nothing"
    fill(run, "plan-20260101-000000", [], report)
    page = Page(write_page(run).page)
    for words in (
        "LeWM + CEM 16.1 7.16",
        "random actions 16.1 14.3",
        "in a picture",
        "16.1 → 7.16",
        "mean over 8 tasks",
        "Success not known, because it says nothing",
        "1 101 10 50 16.1 → 9 16.1 → 14.3 2 102 20 50 16.1 → 5 16.1 → 14.3 0 100 0 50 16.1 → 2",
    ):
        assert words in page.said, words
    assert "95 %" not in page.said


def test_tasks_that_failed_are_in_front_and_some_others_beside_them(run):
    report = {**plan_report(2), "tasks": tasks([number in (3, 8) for number in range(20)])}
    fill(run, "plan-20260101-000000", [f"episode-{i:04d}.mp4" for i in range(20)], report)
    page = Page(write_page(run).page)
    assert [file.name for file in page.shown()] == [f"episode-{i:04d}.mp4" for i in (0, 1, 2, 4, 3, 8)]
    assert "6 of 20 films. Tasks that failed come first: 4 of 18 are shown." in page.said
    assert "Tasks that were not solved: 18 of 20, of which 12 are shown" in page.said


def test_failures_of_random_actions_have_none_beside_them(run):
    report = {**plan_report(2), "tasks": [{**one, "random": None} for one in tasks([True, False])], "random": None}
    report["planner"] |= {"agent": "random"}
    fill(run, "plan-20260101-000000", [], report)
    assert "1 101 10 50 - " in Page(write_page(run).page).said


def test_films_of_a_plan_without_failures_are_in_their_order(run):
    report = {**plan_report(8), "tasks": tasks([True] * 8)}
    fill(run, "plan-20260101-000000", ["episode-0003.mp4", "episode-0001.mp4", "foreign.mp4"], report)
    page = Page(write_page(run).page)
    assert [file.name for file in page.shown()] == ["episode-0001.mp4", "episode-0003.mp4", "foreign.mp4"]
    assert "not solved" not in page.said
    assert "failed" not in page.said
