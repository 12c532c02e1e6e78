"""The benchmark of planning runs, and says what it measured and what it left out."""

import contextlib
import dataclasses
import json
import types
import weakref

import pytest
import torch

from lewm import recipes
from lewm.model import build
from lewm_kernels.rollout import reference


def test_planning(tmp_path, module, monkeypatch, run_quickly):
    report = run_quickly("planning", tmp_path / "planning-cpu.json", "--profile", tmp_path / "profile.txt")
    rows = {(row["part"], row["stage"], row["path"]): row for row in report["results"] if row["part"] != "growth"}
    for path in ("reference", "lewm"):
        for part, stage in (("a", "rollout"), ("b", "solve"), ("c", "solve"), ("d", "plan")):
            row = rows[part, stage, path]
            assert 0 < row["p20_ms"] <= row["median_ms"] <= row["p80_ms"]
            assert (row["ratios"]["reference fp32"] == 1) == (path == "reference")
            assert row["precision"] == "fp32"
            assert row["environments"] == (3 if part == "c" else 1)
            assert part == "d" or row["peak_extra_bytes"] > 0
            assert part == "d" or (0 < row["error"] < 1e-6 and row["repeats"])
        assert f"tiny, 1 environments, {path} fp32" in (tmp_path / "profile.txt").read_text()
    one = rows["a", "rollout", "lewm"]
    assert one["share_of_matrix_rate"] > 0
    assert one["multiply_adds_a_candidate"] < rows["a", "rollout", "reference"]["multiply_adds_a_candidate"]
    for part in ("b", "c"):
        solve = rows[part, "solve", "lewm"]
        assert rows[part, "rollout", "lewm"]["median_ms"] < solve["median_ms"]
        assert rows[part, "encode", "lewm"]["median_ms"] > 0
        assert 1 == solve["measured_iterations"] < solve["iterations"]
        assert solve["first_ms"] > 0
    large = rows["d", "plan", "dino-wm-sized"]
    assert large["measured_candidates"] < large["samples"] * large["iterations"]
    assert rows["d", "plan", "lewm"]["ratios"]["dino-wm-sized fp32"] > 1
    grown = [row for row in report["results"] if row["part"] == "growth"]
    assert {row["of"] for row in grown} == {"samples", "horizon", "environments"}

    tables = module("_planning_tables")
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    whole, stages = tables.planning(), tables.stages()
    for what in ("one iteration", f"a solve, 3 environments (1 of {large['iterations']} iterations measured)"):
        assert f"| tiny | {what} | lewm fp32 | CPU, " in whole
    assert f"| tiny | a solve (1 of {large['iterations']} iterations measured) | fp32 | CPU, " in stages
    for table in (whole, stages, tables.patches(), tables.growth()):
        header, ruler, *lines = table.splitlines()
        assert {line.count("|") for line in (ruler, *lines[:-2])} == {header.count("|")}
        assert lines[-2:] == ["", "GPU: not measured."]


def test_what_the_budget_leaves_out_is_in_the_report_and_in_the_table(tmp_path, module, monkeypatch, run_quickly):
    report = run_quickly("planning", tmp_path / "planning-cpu.json", "--budget", "0", "--parts", "c", "a")
    assert [(row["part"], row["skipped"]) for row in report["results"]] == [
        (part, "the budget of 0 s was spent") for part in "ca"
    ]
    tables = module("_planning_tables")
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    assert "| the budget of 0 s was spent |" in tables.planning()


def test_a_path_that_is_left_out_dies_or_errs_stops_no_other(tmp_path, module):
    case, paths = module("_planning_case"), module("_planning_paths")
    checks, parts = module("_planning_check"), module("_planning_parts")
    tiny = case.build("tiny", torch.device("cpu"), 2, ["reference", "lewm"], ["fp32"], {"reference fp32": "known"})
    right = tiny.paths["lewm fp32"]

    def dies(*_):
        raise RuntimeError("no kernel\nand a long story")

    tiny.paths["dies fp32"] = dataclasses.replace(right, costs=dies)
    tiny.paths["errs fp32"] = dataclasses.replace(right, costs=lambda *inputs: 1.01 * right.costs(*inputs))
    faults = {
        "reference fp32": "known",
        "dies fp32": "RuntimeError: no kernel",
        "errs fp32": "costs differ from the reference's by 0.01",
    }
    with torch.inference_mode():
        assert checks.check(tiny, 1).faults == faults
        for rows in (parts.one_iteration(tiny, 1, None), parts.solve(tiny, "b", 1, 60.0, 60.0)):
            skipped = {f"{row['path']} {row['precision']}": row["skipped"] for row in rows if "skipped" in row}
            assert skipped == faults
            (timed,) = [row for row in rows if row["path"] == "lewm" and row["stage"] in ("rollout", "solve")][:1]
            assert timed["median_ms"] > 0
    assert timed["together"] == timed["environments"] == 1
    # all iterations were done, so the plan's cost is known, and it is better than doing nothing
    latents, goals, _ = tiny.inputs(1, tiny.planning.planner.samples, tiny.planning.horizon)
    idle = torch.zeros(1, 1, tiny.planning.horizon, tiny.model.config.action_block)
    assert timed["plan_cost"] < float(paths.true_costs(tiny.model, latents, goals, idle))


def test_on_a_cuda_device_every_design_precision_and_form_is_a_path(module, monkeypatch):
    paths = module("_planning_paths")
    monkeypatch.setattr(paths.tiles, "DESIGNS", ("split", "whole", "layerwise"), raising=False)
    model = build(recipes.small("two-room", 2).model).eval()
    families = ["reference", "torch", "triton", "lewm"]
    precisions = ["bf16", "fp32"]  # a model on a CPU cannot be packed in tf32
    found = paths.all_paths(model, families, precisions, "cuda")
    operators = ["torch", "triton-split", "triton-whole", "triton-layerwise"]
    expected = {f"{title}{form} {p}" for title in operators for form in ("", "-graph") for p in precisions}
    expected |= {f"reference{form} {p}" for form in ("", "-graph") for p in precisions}
    assert set(found) == expected | {f"lewm {p}" for p in precisions}
    for name, path in found.items():
        assert path.graph == (name.startswith("lewm") or "-graph" in name)
        assert path.precision == name.split()[1]
    cases = module("_planning_case")
    monkeypatch.setattr(cases, "all_paths", lambda *_: found)
    case = cases.build("tiny", torch.device("cpu"), 1, families, precisions, {"triton-whole bf16": "it died"})
    assert case.left_out == {"triton-whole bf16": "it died", "triton-whole-graph bf16": "it died"}
    called = []
    monkeypatch.setattr(paths, "rollout", lambda packed, *inputs, **how: called.append((packed.precision, how)))
    for name in ("triton-whole bf16", "torch-graph fp32"):
        calls = paths.all_paths(model, families, precisions, "cuda")[name]
        with contextlib.suppress(TypeError):  # the call gives nothing to go on with
            calls.costs(torch.zeros(1, 64), torch.zeros(1, 64), torch.zeros(1, 2, 5, 10))
    assert called == [("bf16", {"backend": "triton", "design": "whole"}), ("fp32", {"backend": "torch"})]


@pytest.mark.parametrize(
    ("precision", "expected"),
    [("fp32", (torch.float32, "highest")), ("tf32", (torch.float32, "high")), ("bf16", (torch.bfloat16, "highest"))],
)
def test_the_reference_has_a_form_in_each_precision(module, monkeypatch, precision, expected):
    paths, seen = module("_planning_paths"), []

    def roll_out(parameters, latents, candidates, heads, residual):
        seen.append((latents.dtype, torch.get_float32_matmul_precision()))
        return reference.rollout(parameters, latents, candidates, heads=heads, residual=residual)

    monkeypatch.setattr(paths, "reference", types.SimpleNamespace(rollout=roll_out))
    model = build(recipes.small("two-room", 2).model).eval()
    (path,) = paths.baselines(model, ["reference"], precision).values()
    with torch.inference_mode():
        path.costs(torch.zeros(1, 64), torch.zeros(1, 64), torch.zeros(1, 2, 5, 10))
    assert seen == [expected]
    assert torch.get_float32_matmul_precision() == "highest"


def test_where_the_memory_did_not_suffice_the_row_says_how_many_were_planned_together(module, monkeypatch, capsys):
    cases, paths, parts = module("_planning_case"), module("_planning_paths"), module("_planning_parts")
    solvers = []

    class SmallMemory(paths.Solver):
        def __init__(self, *given):
            super().__init__(*given)
            solvers.append(weakref.ref(self))

        def _plan(self, planner, problem, *rest):
            if len(problem) > 2:
                raise torch.OutOfMemoryError("too many")
            return super()._plan(planner, problem, *rest)

    monkeypatch.setattr(paths, "Solver", SmallMemory)
    tiny = cases.build("tiny", torch.device("cpu"), 2, ["lewm"], ["fp32"], {})
    with torch.inference_mode():
        rows = parts.solve(tiny, "c", 5, 60.0, 60.0)
    (row,) = [row for row in rows if (row["stage"], row["path"]) == ("solve", "lewm")]
    assert row["together"] == 2
    assert "2 at a time" in capsys.readouterr().out
    assert len(solvers) == 2  # the solver of the few iterations that show the memory is gone before the timed one
    assert solvers[0]() is None
    about = {"part": "c", "environments": 50, "together": 25}
    assert module("_planning_tables")._what(about) == "a solve, 50 environments, 25 at a time"


def test_a_package_that_is_not_installed_is_in_the_report(module, monkeypatch):
    cases, parts, patches = module("_planning_case"), module("_planning_parts"), module("_planning_patches")
    monkeypatch.setattr(module("_stable_worldmodel"), "installed", lambda: False)
    tiny = cases.build("tiny", torch.device("cpu"), 1, ["stable-worldmodel", "lewm"], ["fp32"], {})
    with torch.inference_mode():
        (row,) = [row for row in parts.one_iteration(tiny, 1, None) if "skipped" in row]
        assert (row["path"], row["precision"], row["skipped"]) == ("stable-worldmodel", "fp32", "not installed")
        assert not [row for row in patches.against_patches(tiny, False) if "skipped" in row]  # it has no part there


def test_a_plan_under_a_graph_begins_with_the_frame_that_is_there(module):
    cases, patches = module("_planning_case"), module("_planning_patches")
    tiny = cases.build("tiny", torch.device("cpu"), 1, ["reference"], ["fp32"], {})
    graphed = dataclasses.replace(
        tiny.paths["reference fp32"], graph=True, solve=lambda latents, goals, planning: latents.clone()
    )
    frames = tiny.frames(1)
    with torch.inference_mode():
        call = patches._from_frame(tiny, graphed, frames, torch.zeros(1, 8))
        before = call()
        frames.zero_()
        assert not torch.equal(call(), before)
        assert torch.equal(call(), tiny.model.embed(frames))


def gpu_report(rows: list[dict]) -> str:
    same = {"model": "paper", "samples": 300, "horizon": 5, "iterations": 30, "device": "cuda", "threads": 16}
    same |= {"median_ms": 2.0, "p20_ms": 1.0, "p80_ms": 3.0, "ratios": {}}
    return json.dumps({"device": "A GPU", "results": [same | row for row in rows]})


def test_a_gpu_has_its_rows_and_each_baselines_fastest_form_counts(tmp_path, module, monkeypatch):
    tables = module("_planning_tables")
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    ours = {"path": "lewm", "precision": "bf16", "environments": 50, "part": "c", "stage": "solve"}
    (tmp_path / "planning-gpu.json").write_text(
        gpu_report([ours | {"ratios": {"reference fp32": 9.0, "reference bf16": 5.0, "reference-graph bf16": 4.0}}])
    )
    (tmp_path / "planning-gpu-compiled.json").write_text(
        gpu_report(
            [
                ours
                | {"median_ms": 2.5, "ratios": {"reference-compiled bf16": 3.5, "reference-compiled-graph bf16": 3.0}},
                ours | {"path": "reference-compiled", "skipped": "RuntimeError: no compiler"},
                {"path": "lewm", "precision": "bf16", "environments": 1, "part": "d", "stage": "plan"}
                | {"ratios": {"dino-wm-sized bf16": 400.0, "dino-wm-sized-compiled-graph bf16": 300.0}},
            ]
        )
    )
    table = tables.planning()
    assert "| paper | a solve, 50 environments | lewm bf16 | A GPU | 2.5 ms (1 to 3) | 4 × | 3 × |" in table
    assert table.count("lewm bf16") == 1
    assert "| reference-compiled bf16 | A GPU | RuntimeError: no compiler |" in table
    assert "not measured" not in table
    assert "| lewm bf16 | A GPU | 2 ms (1 to 3) | 300 × |" in tables.patches()
    (row,) = tables.on_gpus()
    assert row == (
        "| a solve, 50 environments, paper model, A GPU, bf16 | 2.5 ms (1 to 3); the reference 4 ×, it compiled 3 × |"
    )


def test_a_table_of_nothing_measured_says_so(tmp_path, module, monkeypatch):
    tables = module("_planning_tables")
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    assert tables.planning().endswith("|---|\n\nNothing is measured yet.\n")


def test_wrong_costs_and_another_choice_are_found(module):
    judge = module("_planning_check").judge
    truth = torch.arange(1.0, 101.0)[None]  # (1, S)
    assert judge(truth * (1 + 1e-6), truth, 10, "fp32") is None
    assert "differ" in judge(truth * 1.01, truth, 10, "fp32")
    exchanged = truth.clone()
    exchanged[0, [9, 19]] = exchanged[0, [19, 9]]  # the tenth elite and the twentieth candidate
    assert "dearer" in judge(exchanged, truth, 10, "bf16")
