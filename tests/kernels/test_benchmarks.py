"""The kernels' benchmarks run, and say what they measured."""

import contextlib
import dataclasses
import importlib
import importlib.util
import json
import subprocess
import sys
import types
import weakref
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

import lewm_kernels
from lewm import recipes
from lewm.model.world_model import WorldModel
from lewm_kernels.rollout import reference, rollout
from lewm_kernels.rollout.tiles import DESIGNS

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def module(monkeypatch):
    """Imports a module of the benchmarks."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


def run_quickly(name: str, json_file: Path, *options: str | Path) -> dict:
    command = [
        sys.executable,
        BENCHMARKS / f"bench_{name}.py",
        "--quick",
        "--device",
        "cpu",
        "--json",
        json_file,
        *options,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(json_file.read_text())


def test_sigreg(tmp_path):
    report = run_quickly("sigreg", tmp_path / "sigreg.json")
    rows = {(row["pass"], row["path"]): row for row in report["results"]}
    assert set(rows) == {(p, q) for p in ("forward", "forward+backward") for q in ("definition", "torch", "exact")}
    for (_, path), row in rows.items():
        assert 0 < row["p20_ms"] <= row["median_ms"] <= row["p80_ms"]
        assert row["peak_extra_bytes"] > 0
        assert max(row["error_value"], row["error_gradient"]) < 1e-5
        assert (row["speedup"] == 1) == (path == "definition")
    # The definition keeps cosines and sines of every knot: two tensors of (T, N, M, K) float32.
    definition = rows["forward+backward", "definition"]
    T, N, M, K = (definition[letter] for letter in "TNMK")
    assert definition["peak_extra_bytes"] > 2 * 4 * T * N * M * K


def test_the_exact_form_is_what_random_directions_estimate(module):
    exact = module("_exact_sigreg")
    T, N, D, M, knots = 2, 48, 12, 1 << 17, torch.linspace(0, 3, 17)
    z = (torch.randn(T, N, D, generator=torch.Generator().manual_seed(0)) + 0.3).requires_grad_()
    tables = exact.Exact(D, knots, exact.largest_square(z), z.detach())
    (slope,) = torch.autograd.grad(tables(z).sum(), z)
    sketch = lewm_kernels.sigreg(z, lewm_kernels.directions(0, 0, D, M), knots)
    (estimate,) = torch.autograd.grad(sketch.sum(), z)
    torch.testing.assert_close(tables(z), sketch, rtol=0.02, atol=0)
    assert (slope - estimate).norm() < 0.03 * estimate.norm()


def test_the_gradient_of_the_exact_form_is_its_derivative(module):
    exact = module("_exact_sigreg")
    z = torch.randn(1, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    tables = exact.Exact(4, torch.linspace(0, 3, 17), exact.largest_square(z), z.detach(), 1 << 16)
    assert torch.autograd.gradcheck(tables, z, eps=1e-3, atol=1e-4)


def test_a_graph_of_sigreg_that_cannot_be_captured_stops_no_other_path(module, monkeypatch):
    bench = module("bench_sigreg")
    captured = []

    def fails(call):
        captured.append(call)
        raise RuntimeError("operation not permitted when stream is capturing\nand advice")

    monkeypatch.setattr(bench, "captured", fails)
    definition = bench.with_knots_there(bench.reference.sigreg)
    paths = {"definition": definition, "torch-graph": bench.ours("torch"), "torch": bench.ours("torch")}
    rows = bench.measure("tiny", paths, torch.device("cpu"), turns=2)
    assert len(captured) == 1
    for way in ("forward", "forward+backward"):
        of_way = {row["path"]: row for row in rows if row["pass"] == way}
        assert set(of_way) == {*paths, "exact"}
        reason = "RuntimeError: operation not permitted when stream is capturing"
        assert of_way["torch-graph"]["skipped"] == reason
        assert of_way["torch"]["speedup"] > 0
        assert of_way["torch"]["error_gradient"] < 1e-5


class FakeCuda:
    """Stands for torch.cuda where a capture is made; its end raises for as long as `breaks`."""

    def __init__(self):
        self.current, self.breaks, self.begun = "default", True, 0

    def patch(self, monkeypatch):
        for name in ("stream", "graph"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))
        monkeypatch.setattr(
            torch.cuda, "current_stream", lambda: types.SimpleNamespace(name=self.current, wait_stream=id)
        )
        monkeypatch.setattr(torch.cuda, "Stream", lambda: types.SimpleNamespace(name="side", wait_stream=id))
        monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: types.SimpleNamespace(replay=lambda: None))
        monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 1))

    @contextlib.contextmanager
    def stream(self, stream):
        before, self.current = self.current, stream.name
        try:
            yield
        finally:
            self.current = before

    @contextlib.contextmanager
    def graph(self, graph, pool):
        before, self.current = self.current, "capture"
        self.begun += 1
        try:
            yield
        finally:
            if self.breaks:  # as PyTorch's: the stream stays
                raise RuntimeError("operation failed due to a previous error during capture")
            self.current = before


def test_after_a_capture_that_broke_the_stream_is_as_before_and_none_is_tried_again(module, monkeypatch):
    measure, cuda = module("_measure"), FakeCuda()
    cuda.patch(monkeypatch)
    monkeypatch.setattr(measure, "_broken", [])

    def fails_in_capture():
        if cuda.current == "capture":
            raise RuntimeError("operation not permitted when stream is capturing")
        return "result"

    cuda.breaks = False
    assert measure.captured(lambda: "result")() == "result"
    with pytest.raises(RuntimeError, match=r"^operation not permitted"):
        measure.captured(fails_in_capture)
    assert measure.can_capture()  # its end was in order

    cuda.breaks = True
    with pytest.raises(RuntimeError, match=r"^operation not permitted"):
        measure.captured(fails_in_capture)
    assert cuda.current == "default"
    assert not measure.can_capture()
    assert cuda.begun == 3
    with pytest.raises(RuntimeError, match=r"^no graph can be captured .* not permitted"):
        measure.captured(lambda: "result")
    assert cuda.begun == 3

    on_cuda = types.SimpleNamespace(as_graph=measure.captured)
    call = object()
    assert module("_planning_case").Case.in_search(on_cuda, call) is call


def test_philox(tmp_path):
    report = run_quickly("philox", tmp_path / "philox.json")
    assert {row["path"] for row in report["results"]} == {"lewm_kernels.normal", "torch.randn"}
    assert all(row["ns_per_number"] > 0 for row in report["results"])


def test_planning(tmp_path, module, monkeypatch):
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


def test_what_the_budget_leaves_out_is_in_the_report_and_in_the_table(tmp_path, module, monkeypatch):
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
    latents, goals, _ = tiny.inputs(1, tiny.planning.samples, tiny.planning.horizon)
    idle = torch.zeros(1, 1, tiny.planning.horizon, tiny.model.config.action_block)
    assert timed["plan_cost"] < float(paths.true_costs(tiny.model, latents, goals, idle))


def test_on_a_cuda_device_every_design_precision_and_form_is_a_path(module, monkeypatch):
    paths = module("_planning_paths")
    monkeypatch.setattr(paths.tiles, "DESIGNS", ("split", "whole", "layerwise"), raising=False)
    model = WorldModel(recipes.small("two-room", 2).model).eval()
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

    def roll_out(parameters, latents, candidates, heads):
        seen.append((latents.dtype, torch.get_float32_matmul_precision()))
        return reference.rollout(parameters, latents, candidates, heads=heads)

    monkeypatch.setattr(paths, "reference", types.SimpleNamespace(rollout=roll_out))
    model = WorldModel(recipes.small("two-room", 2).model).eval()
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

        def _search(self, planning, inputs, *rest):
            if len(inputs[0]) > 2:
                raise torch.OutOfMemoryError("too many")
            return super()._search(planning, inputs, *rest)

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


def test_a_difference_of_times_is_not_negative(module):
    parts = module("_planning_parts")
    assert parts.difference([3.0, 1.0], [1.0, 2.0]) == [2.0, parts.RESOLUTION]
    assert module("_measure").spread([parts.RESOLUTION])["median_ms"] == 0


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


def test_sigreg_on_a_gpu_is_compared_with_the_definitions_fastest_form(tmp_path, module, monkeypatch):
    tables = module("_sigreg_tables")
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    assert tables.sigreg().endswith("| GPU | every shape | - | both | every path | not measured | - | - | - | - |\n")
    same = {"shape": "paper", "T": 4, "N": 128, "D": 192, "M": 1024, "K": 17, "device": "cuda", "threads": 16}
    same |= {"pass": "forward", "p20_ms": 0.01, "p80_ms": 0.4, "peak_extra_bytes": 2**20}
    same |= {"error_value": 1e-7, "error_gradient": 2e-7}
    paths = {"definition": 0.3, "definition-compiled-graph": 0.09, "triton-graph": 0.0301}
    rows = [same | {"path": path, "median_ms": ms, "speedup": 0.3 / ms} for path, ms in paths.items()]
    rows.append({**same, "path": "exact", "skipped": "not there"})
    (tmp_path / "sigreg-gpu.json").write_text(json.dumps({"device": "A GPU", "results": rows}))
    table = tables.sigreg()
    assert (
        "| A GPU | 4, 128, 192, 1024, 17 | 16 | forward | triton-graph | 0.0301 (0.01 to 0.4) | 10.0 | 3.0 | 1.0 "
        "| 1.0e-07, 2.0e-07 |" in table
    )
    assert "| exact | not there | - | - | - | - |" in table
    assert "not measured" not in table


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


def test_a_rollout_counts_139_and_79_million_multiply_adds(module):
    counts, model = module("_counts"), recipes.paper("two-room", 2).model
    assert round(counts.multiply_adds(counts.released(model, 5)) / 1e6) == 139
    assert round(counts.multiply_adds(counts.needed(model, 5)) / 1e6) == 79


@pytest.mark.parametrize(("width", "history"), [(64, 1), (64, 3), (24, 3), (64, 9)])
def test_the_products_counted_are_those_that_are_computed(module, width, history):
    counts, H = module("_counts"), 5
    sizes = recipes.small("two-room", 2).model
    predictor = sizes.predictor.model_copy(update={"history": history, "width": width})
    sizes = sizes.model_copy(update={"predictor": predictor})
    model, A, S = WorldModel(sizes).eval(), sizes.action_block, 64
    latents, candidates = torch.zeros(1, 1, sizes.latent), torch.zeros(1, S, H, A)
    with FlopCounterMode(display=False) as plain, torch.no_grad():
        reference.rollout(model.state_dict(), latents, candidates, heads=predictor.heads)
    # the reference embeds the actions of every window anew, the released code once
    first, hidden = sizes.action_embedder.bottleneck, sizes.action_embedder.hidden
    anew = sum(min(step + 1, history) for step in range(H)) - H
    embedding = A * first + first * hidden + hidden * sizes.latent
    assert matrix_products(plain) == S * (counts.multiply_adds(counts.released(sizes, H)) + anew * embedding)

    packed = model.pack("bf16")  # oneDNN's products, of float32, are not seen
    with FlopCounterMode(display=False) as fast, torch.no_grad():
        rollout(packed, latents, candidates, backend="torch")
    needed = S * counts.multiply_adds(counts.needed(sizes, H))
    assert needed <= matrix_products(fast) < 1.01 * needed


def matrix_products(counter: FlopCounterMode) -> int:
    """Multiply-adds, without attention's."""
    return sum(flops for operator, flops in counter.get_flop_counts()["Global"].items() if "mm" in str(operator)) // 2


class Counted:
    """Stands for a kernel, and counts its launches."""

    def __init__(self, launched):
        self.launched = launched

    def __getitem__(self, grid):
        return lambda **arguments: self.launched.append(grid)


class Launches(TorchDispatchMode):
    """Counts PyTorch's products and sums."""

    def __init__(self, launched):
        super().__init__()
        self.launched = launched

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        counted = (torch.ops.aten.mm.default, torch.ops.aten.mm.out, torch.ops.aten.sum.IntList_out)
        if function in (*counted, torch.ops.aten.add.out):
            self.launched.append(function)
        return function(*args, **(kwargs or {}))


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
@pytest.mark.parametrize("design", DESIGNS)
def test_the_launches_counted_are_those_that_are_made(module, monkeypatch, design):
    counts, sizes = module("_design_counts"), recipes.paper("two-room", 2).model
    packed, C, H = WorldModel(sizes).eval().pack("bf16"), 3, 5
    launched = []
    for name in ("kernels", "whole_kernels", "layerwise_kernels"):
        kernels = importlib.import_module(f"lewm_kernels.rollout.{name}")
        for kernel in (name for name in vars(kernels) if name.endswith("_kernel")):
            monkeypatch.setattr(kernels, kernel, Counted(launched))
    path = importlib.import_module("lewm_kernels.rollout.triton")
    with torch.no_grad(), Launches(launched):
        path.rollout(packed, torch.zeros(1, 1, 192), torch.zeros(1, C, H, 10), None, design)
    assert len(launched) == sum(launch.count for launch in counts.of_call(sizes, design, C, H))


@pytest.mark.parametrize("design", DESIGNS)
def test_each_design_multiplies_as_much_as_is_needed_or_little_more(module, design):
    counts, sizes = module("_counts"), recipes.paper("two-room", 2).model
    launches = list(module("_design_counts").of_call(sizes, design, 1, 5))
    needed = counts.multiply_adds(counts.needed(sizes, 5))
    assert needed < 1.02 * sum(launch.multiply_adds for launch in launches) < 1.2 * needed


def test_wrong_costs_and_another_choice_are_found(module):
    judge = module("_planning_check").judge
    truth = torch.arange(1.0, 101.0)[None]  # (1, S)
    assert judge(truth * (1 + 1e-6), truth, 10, "fp32") is None
    assert "differ" in judge(truth * 1.01, truth, 10, "fp32")
    exchanged = truth.clone()
    exchanged[0, [9, 19]] = exchanged[0, [19, 9]]  # the tenth elite and the twentieth candidate
    assert "dearer" in judge(exchanged, truth, 10, "bf16")


def test_the_model_of_dino_wms_size_has_its_size_and_sees_no_later_frame(module):
    sized = module("dino_wm_sized")
    model = sized.DinoWmSized(224, 10)
    millions = {
        part: sum(p.numel() for p in getattr(model, part).parameters()) / 1e6 for part in ("encoder", "predictor")
    }
    assert 21 < millions["encoder"] < 22.5  # ViT-S without its embeddings
    assert 19 < millions["predictor"] < 20.5
    assert model.mask.shape == (768, 768)
    assert model.mask[:256].sum(dim=1).eq(256).all()
    assert model.mask[512:].all()


def test_outside_a_checkout_the_report_names_the_commit_that_it_is_told(module, monkeypatch):
    report = module("_report")
    monkeypatch.setattr(report, "_git", lambda *arguments: None)
    assert report.environment()["commit"] is None
    monkeypatch.setenv("LEWM_COMMIT", 40 * "a")
    assert report.environment()["commit"] == 40 * "a"
    assert report.environment()["dirty"] is None


@pytest.mark.parametrize("name", ["sigreg", "philox", "planning"])
def test_committed_results_are_of_a_commit(name):
    report = json.loads((BENCHMARKS / "results" / f"{name}-cpu.json").read_text())
    assert report["benchmark"] == name
    assert len(report["commit"]) == 40
    assert report["results"]


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
def test_a_tile_takes_the_place_of_the_tables(module, monkeypatch):
    bench = module("bench_tiles")
    seen = []
    for (design, function), others in bench.TILES.items():
        where = importlib.import_module(f"lewm_kernels.rollout.{design}")
        monkeypatch.setattr(
            bench,
            "rollout",
            lambda *given, where=where, function=function, **_: seen.append(getattr(where, function)()),
        )
        own = getattr(where, function)
        for tile in others:
            bench.Variant(design, function, tile).call(None, None, None)
            assert seen.pop() == tile
        assert getattr(where, function) is own


def test_an_error_of_a_rollout_is_found(module):
    bench, cpu = module("bench_tiles"), torch.device("cpu")
    packed, latents, candidates = bench.inputs(cpu, bench.CHECKED)
    got = rollout(packed, latents, candidates, backend="torch")
    assert 0 < bench.error(got, latents, candidates) < bench.WRONG
    assert bench.error(2 * got, latents, candidates) > bench.WRONG
