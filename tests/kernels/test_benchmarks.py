"""The kernels' benchmarks run, and say what they measured."""

import importlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

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


def run_quickly(name: str, json_file: Path) -> dict:
    command = [
        sys.executable,
        BENCHMARKS / f"bench_{name}.py",
        "--quick",
        "--device",
        "cpu",
        "--json",
        json_file,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(json_file.read_text())


def test_sigreg(tmp_path):
    report = run_quickly("sigreg", tmp_path / "sigreg.json")
    rows = {(row["pass"], row["path"]): row for row in report["results"]}
    assert set(rows) == {(p, q) for p in ("forward", "forward+backward") for q in ("definition", "torch")}
    for (_, path), row in rows.items():
        assert 0 < row["p20_ms"] <= row["median_ms"] <= row["p80_ms"]
        assert row["peak_extra_bytes"] > 0
        assert max(row["error_value"], row["error_gradient"]) < 1e-5
        assert (row["speedup"] == 1) == (path == "definition")
    # The definition keeps cosines and sines of every knot: two tensors of (T, N, M, K) float32.
    definition = rows["forward+backward", "definition"]
    T, N, M, K = (definition[letter] for letter in "TNMK")
    assert definition["peak_extra_bytes"] > 2 * 4 * T * N * M * K


def test_philox(tmp_path):
    report = run_quickly("philox", tmp_path / "philox.json")
    assert {row["path"] for row in report["results"]} == {"lewm_kernels.normal", "torch.randn"}
    assert all(row["ns_per_number"] > 0 for row in report["results"])


def test_planning(tmp_path, module, monkeypatch):
    report = run_quickly("planning", tmp_path / "planning-cpu.json")
    rows = {(row["part"], row["stage"], row["path"]): row for row in report["results"] if row["part"] != "growth"}
    for path in ("reference", "lewm"):
        for part, stage in (("a", "rollout"), ("b", "solve"), ("c", "solve"), ("d", "plan")):
            row = rows[part, stage, path]
            assert 0 < row["p20_ms"] <= row["median_ms"] <= row["p80_ms"]
            assert (row["ratios"]["reference fp32"] == 1) == (path == "reference")
            assert row["precision"] == "fp32"
            assert row["environments"] == (3 if part == "c" else 1)
            assert part == "d" or row["peak_extra_bytes"] > 0
    one = rows["a", "rollout", "lewm"]
    assert one["share_of_matrix_rate"] > 0
    assert one["multiply_adds_a_candidate"] < rows["a", "rollout", "reference"]["multiply_adds_a_candidate"]
    for part in ("b", "c"):
        assert rows[part, "rollout", "lewm"]["median_ms"] < rows[part, "solve", "lewm"]["median_ms"]
        assert rows[part, "encode", "lewm"]["median_ms"] > 0
    assert rows["c", "solve", "lewm"]["measured_iterations"] < rows["c", "solve", "lewm"]["iterations"]
    large = rows["d", "plan", "dino-wm-sized"]
    assert large["measured_candidates"] < large["samples"] * large["iterations"]
    assert rows["d", "plan", "lewm"]["ratios"]["dino-wm-sized fp32"] > 1
    grown = [row for row in report["results"] if row["part"] == "growth"]
    assert {row["of"] for row in grown} == {"samples", "horizon", "environments"}

    tables = module("_planning_tables")
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    whole = tables.planning()
    for what in (
        "one iteration",
        "a solve",
        f"a solve, 3 environments (1 of {large['iterations']} iterations measured)",
    ):
        assert f"| tiny | {what} | lewm fp32 | CPU, " in whole
    for table in (whole, tables.stages(), tables.patches(), tables.growth()):
        header, ruler, *lines = table.splitlines()
        assert {line.count("|") for line in (ruler, *lines[:-2])} == {header.count("|")}
        assert lines[-2:] == ["", "GPU: not measured."]


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
    judge = module("_planning_paths").judge
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


@pytest.mark.parametrize("name", ["sigreg", "philox", "planning"])
def test_committed_results_are_of_a_commit(name):
    report = json.loads((BENCHMARKS / "results" / f"{name}-cpu.json").read_text())
    assert report["benchmark"] == name
    assert len(report["commit"]) == 40
    assert report["results"]
