"""`lewm compare`, end to end with tiny models."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from typer.testing import CliRunner

from lewm.compare.records import Place
from lewm.compare.result import read_comparison
from lewm.compare.spec import shipped
from lewm.provenance import versions
from lewm.report_files import read_report, write_report
from lewm_cli import output
from lewm_cli.main import app

SPEC = (
    (Path(__file__).parents[1] / "tiny_comparison.toml").read_text()
    + """
[methods.lewm]
title = "LeWM"
[methods.pldm]
train.set = { "objective.kind" = "pldm" }
"""
)
GROUP = """
[[groups]]
title = "Methods"
rows = ["lewm", "pldm"]
"""
DIVERGES = """
[[groups]]
title = "Odd"
rows = ["lewm", { of = "lewm", title = "diverges", train.set = { "training.learning_rate" = 1e30 } }]
"""
PLANS = """
[[groups]]
title = "Planners"
rows = [
    "lewm",
    { of = "lewm", title = "warm", plan.set = { warm_start = "on" } },
    { of = "lewm", title = "two", x = 2, plan.set = { execute = 2 } },
    { of = "lewm", title = "random", plan.set = { agent = "random" } },
]
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LEWM_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home" / "compare"


def call(*arguments):
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return 1, "\n".join(output.explain(result.exception))
    return result.exit_code, result.output


def compare(tmp_path, text, *options, name="own"):
    """What the command with this specification found; a part of it is in a folder of its own."""
    (tmp_path / f"{name}.toml").write_text(text)
    code, shown = call("compare", f"{name}.toml", *options)
    assert code == 0, shown
    part = name + "".join(f"--{key[2:]}-{value}" for key, value in zip(options[::2], options[1::2], strict=False))
    return read_comparison(tmp_path / "home" / "compare" / "results" / part / "compare.json")


def begin(tmp_path, text, *options):
    """The same in a process of its own."""
    (tmp_path / "own.toml").write_text(text)
    command = [sys.executable, "-m", "lewm_cli", "compare", "own.toml", *options]
    places = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "PYTHONPATH": places, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def kept(home):
    """Every file of the runs, with its time."""
    return {path: path.stat().st_mtime_ns for path in home.glob("runs/**/*.*") if not path.name.startswith(".")}


def outcomes(comparison):
    """What a comparison found, apart from times."""
    return [
        (row.method, row.solved, row.tasks_sha256, row.success, row.difference, row.p_holm, row.curve, row.missing)
        for world in comparison.worlds
        for group in world.groups
        for row in group.rows
    ]


def test_one_command_fills_a_table_and_a_second_one_has_nothing_to_do(home, tmp_path):
    found = compare(tmp_path, SPEC + GROUP)
    (world,) = found.worlds
    lewm, pldm = world.groups[0].rows
    assert (world.world, world.reference, world.tasks, world.goal_offset, world.budget) == (
        "two-room",
        "lewm",
        4,
        25,
        50,
    )
    assert world.data["episodes"] == 12
    assert (lewm.title, pldm.title, pldm.settings["train.objective.kind"]) == ("LeWM", "pldm", "pldm")
    assert lewm.tasks_sha256 == pldm.tasks_sha256
    assert len(set(lewm.tasks_sha256)) == 2, "each seed holds out other episodes"
    assert lewm.difference is None
    assert pldm.paired_seeds == (0, 1)
    counted = [sum(won for won, _ in row.solved) / 8 for row in (lewm, pldm)]
    assert pldm.success.value == pytest.approx(counted[1])
    assert pldm.difference.value == pytest.approx(counted[1] - counted[0])
    assert pldm.p_holm == pldm.p, "it is the only row that is tested"
    assert pldm.ratio.interval_95[0] > 0
    assert min(lewm.train_seconds) > 0
    assert [step for step, _, _ in lewm.curve[0]] == [1, 2, 3, 4]
    assert lewm.missing == ("", "")
    files = kept(home)
    assert len([path for path in files if path.name.startswith("plan-")]) == 4
    assert outcomes(compare(tmp_path, SPEC + GROUP)) == outcomes(found)
    assert kept(home) == files
    code, shown = call("compare", "own.toml", "--dry-run")
    assert (code, shown.splitlines()[-1]) == (0, "11 of 11 jobs are done or have failed; 0 are to do")
    code, shown = call("report", "--run", str(home / lewm.runs[0]))
    assert code == 0, shown
    assert found.call == ("compare", "own.toml")
    assert "lewm compare own.toml" in (home / "results" / "own" / "index.html").read_text()
    assert 0 < found.elapsed <= found.seconds * (1 + 1e-6)  # clocks round
    assert found.versions["lewm"] == (versions()["lewm"],)
    assert found.timed_on == (f"cpu, threads: {torch.get_num_threads()}",)


def test_what_is_of_other_weights_or_of_another_program_is_not_passed_as_fresh(home, tmp_path):
    lewm = compare(tmp_path, SPEC + GROUP, "--seeds", "0").worlds[0].groups[0].rows[0]
    assert lewm.embeddings[0] is not None
    path = home / lewm.runs[0] / "embeddings.json"
    content = read_report(path) | {"checkpoint_sha256": "0" * 64}
    write_report(path, SimpleNamespace(as_dict=lambda: content))
    place, (job,) = Place(home), (one.parent.name for one in home.glob("jobs/collect-*/record.json"))
    place.write(job, replace(place.read(job), made_by={"lewm": "0.0.1"}))
    for timing in home.glob("jobs/time-*/record.json"):
        timing.unlink()
    code, shown = call("compare", "own.toml", "--seeds", "0", "--show")
    assert (code, "Not all results were made by the same program: lewm 0.0.1, " in " ".join(shown.split())) == (0, True)
    row = read_comparison(home / "results" / "own--seeds-0" / "compare.json").worlds[0].groups[0].rows[0]
    assert row.embeddings == (None,)
    assert row.missing == ("not timed yet",)
    code, shown = call("compare", "own.toml", "--seeds", "0", "--dry-run")
    assert (code, shown.splitlines()[-1]) == (0, "5 of 6 jobs are done or have failed; 1 are to do")


def test_another_specification_uses_the_same_runs_and_a_changed_one_others(home, tmp_path):
    compare(tmp_path, SPEC + GROUP)
    before = kept(home)
    compare(tmp_path, SPEC + PLANS, name="other")
    added = [path for path in kept(home) if path not in before]
    assert {path: kept(home)[path] for path in before} == before
    assert len(added) == 6
    assert all(path.name.startswith("plan-") for path in added)
    compare(tmp_path, (SPEC + GROUP).replace("steps = 4", "steps = 3"), "--seeds", "0", "--tasks", "3")
    assert {path: kept(home)[path] for path in before} == before
    assert len(list(home.glob("runs/two-room/*/seed-*"))) == 6


def test_a_training_that_diverges_is_said_and_the_others_go_on(home, tmp_path):
    found = compare(tmp_path, SPEC + DIVERGES, "--seeds", "0")
    lewm, odd = found.worlds[0].groups[0].rows
    assert lewm.missing == ("",)
    assert odd.solved == (None,)
    assert odd.success is None
    assert "not finite" in odd.missing[0]
    assert str(tmp_path) not in odd.missing[0]
    assert odd.unpaired.startswith("seed 0: failed: ")
    (record,) = (path for path in home.glob("jobs/train-*/record.json") if json.loads(path.read_text())["problem"])
    before = record.stat().st_mtime_ns
    compare(tmp_path, SPEC + DIVERGES, "--seeds", "0")
    assert record.stat().st_mtime_ns == before
    compare(tmp_path, SPEC + DIVERGES, "--seeds", "0", "--retry")
    assert record.stat().st_mtime_ns > before


def test_a_command_that_is_killed_goes_on_and_ends_as_if_it_had_not_been(home, tmp_path, monkeypatch):
    whole = compare(tmp_path, SPEC + GROUP, "--seeds", "0")
    monkeypatch.setenv("LEWM_HOME", str(tmp_path / "again"))
    for records in (1, 3):
        process = begin(tmp_path, SPEC + GROUP, "--seeds", "0")
        jobs = tmp_path / "again" / "compare" / "jobs"
        while process.poll() is None and len(list(jobs.glob("*/record.json"))) < records:
            time.sleep(0.01)
        process.kill()
        process.communicate()
    process = begin(tmp_path, SPEC + GROUP, "--seeds", "0")
    _, shown = process.communicate()
    assert process.returncode == 0, shown
    found = read_comparison(tmp_path / "again" / "compare" / "results" / "own--seeds-0" / "compare.json")
    assert outcomes(found) == outcomes(whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_signal_ends_all_processes_in_two_lines(home, tmp_path, number, jobs):
    process = begin(tmp_path, (SPEC + GROUP).replace("steps = 4", "steps = 400"), "--jobs", jobs)
    while process.poll() is None and not list(home.glob("jobs/train-*/.lock")):
        time.sleep(0.01)
    process.send_signal(number)
    _, shown = process.communicate()
    assert process.returncode == 128 + number
    assert shown.decode().splitlines()[-2:] == [
        "error: interrupted: all that was finished is kept",
        "Give the same command again: it goes on.",
    ]
    assert Place(home).at_work() == []


def test_the_processes_end_when_the_one_that_began_them_is_killed(home, tmp_path):
    process = begin(tmp_path, (SPEC + GROUP).replace("steps = 4", "steps = 1000000"), "--jobs", "2")
    while process.poll() is None and not list(home.glob("jobs/train-*/.lock")):
        time.sleep(0.01)
    process.kill()
    process.communicate()
    while Place(home).at_work():
        time.sleep(0.1)


def test_the_help_names_what_ships():
    _, shown = call("compare", "--help")
    assert all(name in shown for name in shipped())


def test_processes_share_the_work_and_do_nothing_twice(home, tmp_path):
    process = begin(tmp_path, SPEC + GROUP, "--jobs", "2", "--json")
    shown, said = process.communicate()
    assert process.returncode == 0, said
    assert json.loads(shown)["name"] == "own"
    plans = [path for path in kept(home) if path.name.startswith("plan-")]
    assert len(plans) == 4
    assert len({path.parent for path in plans}) == 4
    assert outcomes(compare(tmp_path, SPEC + GROUP)) == outcomes(
        read_comparison(home / "results" / "own" / "compare.json")
    )


def test_two_commands_at_once_share_too_and_one_of_them_writes_the_result(home, tmp_path):
    both = [begin(tmp_path, SPEC + GROUP, "--index", str(index), "--of", "2") for index in range(2)]
    said = [process.communicate()[1].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert any("compare.json" in one for one in said)
    assert len([path for path in kept(home) if path.name.startswith("plan-")]) == 4
    assert all(not any(row[-1]) for row in outcomes(read_comparison(home / "results" / "own" / "compare.json")))


def test_one_training_and_many_ways_to_plan_with_a_run_that_was_there(home, tmp_path):
    trained = compare(tmp_path, SPEC + GROUP, "--seeds", "0").worlds[0].groups[0].rows[0]
    run = home / trained.runs[0]
    untrained = SPEC[: SPEC.index("[train.set]")] + SPEC[SPEC.index("[plan.set]") : SPEC.index("[methods.pldm]")]
    given = untrained + f'run = "{run.parent}/seed-{{seed}}"'
    before = set(kept(home))
    found = compare(tmp_path, given + PLANS, "--seeds", "0", name="many")
    rows = found.worlds[0].groups[0].rows
    assert [row.title for row in rows] == ["LeWM", "warm", "two", "random"]
    assert {row.runs for row in rows} == {(str(run.relative_to(home)),)}
    assert all(path.parent == run for path in set(kept(home)) - before)
    assert rows[2].settings == {"plan.execute": 2}
    assert rows[3].ratio is None, "random actions are no plans"
    assert len({row.tasks_sha256 for row in rows}) == 1
    (tmp_path / "many.toml").write_text(given.replace("{seed}", "0") + PLANS)
    code, said = call("compare", "many.toml", "--seeds", "1")
    assert code == 1
    assert "its seed is 0, expected 1" in said


def test_what_is_there_so_far_is_shown(home, tmp_path):
    compare(tmp_path, SPEC + GROUP, "--seeds", "0")
    found = compare(tmp_path, SPEC + GROUP, "--show")
    lewm, pldm = found.worlds[0].groups[0].rows
    assert lewm.seeds == (0, 1)
    assert lewm.missing[0] == ""
    assert lewm.missing[1].startswith("not there yet: training two-room/small-")
    assert pldm.paired_seeds == (0,)
    assert pldm.unpaired.startswith("seed 1: not there yet")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--dry-run", "--show"), "--dry-run and --show exclude each other"),
        (("--jobs", "2", "--index", "0"), "give each process --index and --of, or one command --jobs"),
        (("--index", "0"), "--index and --of belong together"),
        (("--world", "push-t"), 'unknown world of the specification "push-t"'),
        (("--only", "Method"), 'Did you mean "Methods"?'),
        (("--seeds", "0,x"), "seeds.1: "),
        (("--seeds", "0,0"), "seeds has a seed twice"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_work(home, tmp_path, options, said):
    (tmp_path / "own.toml").write_text(SPEC + GROUP)
    code, shown = call("compare", "own.toml", *options)
    assert code != 0
    assert said in " ".join(shown.split())
    assert "KEY" not in shown
    assert not home.exists()
