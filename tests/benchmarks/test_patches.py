"""The comparison with a model of DINO-WM's size: its counts are those of the code, and it runs and says what it did."""

import math

import torch
from torch.utils.flop_counter import FlopCounterMode

from lewm import recipes
from lewm.config import Cem
from lewm.model import build
from lewm.planning.dynamics import DifferentiableDynamics


def test_the_large_models_multiply_adds_are_those_that_are_computed(module):
    counts, sized = module("_patch_counts"), module("dino_wm_sized")
    model = sized.DinoWmSized(42, 10).eval()  # 9 patches
    S, H = 3, 5
    some = torch.zeros(1, model.patches, sized.WIDTH + sized.EXTRA)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad(), torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        model.cost(some, torch.zeros(1, S, H, 10), some)
    arithmetic = counts.of_patches(model.patches, 10, H)
    assert counter.get_total_flops() == 2 * S * arithmetic.multiply_adds
    assert arithmetic.tokens == 9 * (1 + 2 + 3 + 3 + 3)


def test_the_recipes_multiply_adds_are_those_that_are_computed(module):
    counts, models = module("_patch_counts"), module("_patch_models")
    recipe = models.recipe_model(2)
    dynamics, S, H = DifferentiableDynamics(recipe), 3, 5
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad(), torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        dynamics(torch.zeros(1, 1, recipe.config.latent), torch.zeros(1, S, H, 10))
    arithmetic = counts.of_kept(4, 10, H)
    assert counter.get_total_flops() == 2 * S * arithmetic.multiply_adds
    assert arithmetic.tokens == 4 * (1 + 1 + 1 + 3 + 3)


def test_the_recipe_is_timed_at_its_own_sizes(module):
    model = recipes.recipe("dino-wm", "two-room", 2).model
    assert module("bench_patches").SIDES[0] ** 2 == model.predictor.patches == 196
    assert module("_patch_models").recipe_model(1).config.predictor.depth == model.predictor.depth


def test_the_small_models_tokens_are_one_a_frame(module):
    counts, model = module("_patch_counts"), recipes.paper("two-room", 2).model
    released, ours = (counts.of_lewm(model, 5, once) for once in (False, True))
    assert released.tokens == ours.tokens == 12
    assert released.multiply_adds > 1.7 * ours.multiply_adds
    predictor = build(model).predictor
    assert counts.weights(predictor) == 4 * sum(one.numel() for one in predictor.parameters())


def test_operators_that_compute_are_counted_and_views_are_not(module):
    launches, x = module("_patch_counts").launches, torch.ones(2, 3)
    assert launches(lambda: x.T.unsqueeze(0).reshape(1, 6)) == 1  # the reshape of a transposed tensor copies
    assert launches(lambda: (x + x).relu_().flatten()) == 2


def test_a_ratio_is_a_geometric_mean_with_its_interval(module):
    ratio = module("bench_patches").ratio
    assert ratio([2.0, 8.0], [1.0, 1.0])["value"] == 4
    assert ratio([3.0] * 5, [1.5] * 5) == {"value": 2, "interval_95": [2, 2]}
    low, high = ratio([2.0, 4.0, 8.0, 16.0], [1.0] * 4)["interval_95"]
    assert 2 <= low < math.sqrt(2 * 16) < high <= 16


def test_the_interval_covers_another_way_of_multiplying_up(module):
    """Times that grow by less than the candidates: in proportion they come to more than on the line."""
    bench, settings = module("bench_patches"), Cem(samples=300, elites=30, iterations=30)
    few, many = [8.0, 8.2, 8.1, 7.9], [10.0, 10.1, 9.8, 10.2]
    proportion, line = bench.multiplied_up([1.0] * 4, few, many, [2, 4], settings)
    assert proportion[0] == 1 + 9001 / 4 * 10
    assert line[0] == 1 + 30 * (10 + 296 * (10 - 8) / 2)
    alone, both = (bench.ratio(proportion, [1.0] * 4, given) for given in (None, line))
    assert alone["value"] == both["value"]
    assert both["interval_95"][1] == alone["interval_95"][1]
    assert both["interval_95"][0] < 30 * 296 * 1.1 < alone["interval_95"][0]
    assert bench.ratio([1.0, 1.0], [1.0, 1.0], [-5.0, -5.0])["interval_95"] == [0, 1]


def test_it_runs(run_quickly, tmp_path):
    report = run_quickly("patches", tmp_path / "patches.json", "--candidates", "2", "3", "--provisional")
    rows = {(row["stage"], row["path"], row.get("samples")): row for row in report["results"]}
    assert len(report["results"]) == 6 + 4 * 2 + 4
    assert all(row["provisional"] for row in report["results"])
    for path in ("lewm", "released", "dino-wm", "dino-wm-sized"):
        assert rows["arithmetic", path, None]["launches"] > 10
        assert rows["rollout", path, 3]["growth"]["candidates"] == 1.5
    whole, few = rows["plan", "dino-wm-sized", 24], rows["rollout", "dino-wm-sized", 3]
    assert whole["measured_candidates"] == rows["plan", "dino-wm", 24]["measured_candidates"] == 3
    assert whole["median_ms"] > 20 * few["median_ms"]  # 73 candidates of 3 are measured
    assert whole["ratios"]["lewm"]["value"] > 1
    assert rows["plan", "lewm", 24]["ratios"]["lewm"] == {"value": 1, "interval_95": [1, 1]}


def test_the_table_says_what_is_in_the_results(module, monkeypatch, run_quickly, tmp_path):
    run_quickly("patches", tmp_path / "patches-here.json", "--candidates", "2", "3", "--provisional")
    tables = module("_patch_tables")
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    text = tables.patch_ratio()
    assert "| the same 2 candidates, CPU, " in text
    assert "(3 candidates measured)" in text
    assert "| a plan, as the paper states it for an L40S | | 0.98 s | | 47 s | | 48 |" in text
    assert "| multiply-adds a candidate, 196 patches |" in text
    assert "| multiply-adds a candidate, 256 patches |" in text
    assert "provisional" in text
    assert max(map(len, [line for line in text.splitlines() if not line.startswith("|")])) <= 120
    monkeypatch.setattr(tables, "RESULTS", tmp_path / "empty")
    assert "Nothing is measured yet." in tables.patch_ratio()


def test_the_committed_results_are_of_the_released_sizes(module):
    cells = module("_cells")
    rows = cells.load("patches-cpu.json")["results"]
    counted = {(row["path"], row["patches"]): row["tokens"] for row in rows if row["stage"] == "arithmetic"}
    assert {patches: counted["dino-wm-sized", patches] for patches in (196, 256)} == {196: 196 * 12, 256: 256 * 12}
    assert (counted["dino-wm", 196], counted["released", 1]) == (196 * 9, 12)
    assert {row["samples"] for row in rows if row["stage"] == "plan"} == {300}
