"""SIGReg's benchmark runs, and says what it measured."""

import json

import torch


def test_sigreg(tmp_path, run_quickly):
    report = run_quickly("sigreg", tmp_path / "sigreg.json")
    rows = {(row["pass"], row["path"]): row for row in report["results"]}
    assert set(rows) == {(p, q) for p in ("forward", "forward+backward") for q in ("definition", "torch", "exact")}
    for (_, path), row in rows.items():
        assert 0 < row["p20_ms"] <= row["median_ms"] <= row["p80_ms"]
        assert row["peak_extra_bytes"] > 0
        assert max(row["error_value"], row["error_gradient"]) < 1e-5
        assert row["speedup"] == 1 if path == "definition" else row["speedup"] > 0
    # The definition keeps cosines and sines of every knot: two tensors of (T, N, M, K) float32.
    definition = rows["forward+backward", "definition"]
    T, N, M, K = (definition[letter] for letter in "TNMK")
    assert definition["peak_extra_bytes"] > 2 * 4 * T * N * M * K


def test_speed_ups_are_ratios_to_the_definition_of_the_same_turn(module, monkeypatch):
    bench = module("bench_sigreg")
    times = {"definition": [4.0, 6.0, 8.0], "torch": [2.0, 2.0, 1.0], "exact": [8.0, 6.0, 32.0]}
    monkeypatch.setattr(bench, "in_turns", lambda calls, *_, **__: {name: times[name] for name in calls})
    paths = {"definition": bench.with_knots_there(bench.reference.sigreg), "torch": bench.ours("torch")}
    rows = bench.measure("tiny", paths, torch.device("cpu"), turns=3)
    assert {row["path"]: row["speedup"] for row in rows} == {"definition": 1, "torch": 3, "exact": 0.5}


def test_exact_sigreg(tmp_path, run_quickly):
    report = run_quickly("sigreg_exact", tmp_path / "exact.json")
    sizes = {row["N"] for row in report["results"]}
    assert len(sizes) > 1
    assert {(row["N"], row["path"]) for row in report["results"]} == {
        (N, p) for N in sizes for p in ("sketch", "exact")
    }
    for row in report["results"]:
        assert 0 < row["p20_ms"] <= row["median_ms"] <= row["p80_ms"]
        assert max(row["error_value"], row["error_gradient"]) < 1e-5
        assert row["ratio"] == 1 if row["path"] == "sketch" else row["ratio"] > 0


def test_where_both_forms_take_the_same_time_is_read_between_two_sizes(tmp_path, module, monkeypatch):
    tables = module("_sigreg_tables")
    monkeypatch.setattr(tables, "RESULTS", tmp_path)

    def crossing(*ratios):
        same = {"T": 4, "D": 192, "M": 1024, "K": 17, "device": "cpu", "peak_extra_bytes": 2**20}
        same |= {"median_ms": 2, "p20_ms": 1, "p80_ms": 3, "error_value": 0, "error_gradient": 0}
        rows = [same | {"N": N, "path": "exact", "ratio": ratio} for N, ratio in ratios]
        (tmp_path / "sigreg-exact-cpu.json").write_text(json.dumps({"device": "cpu", "results": rows}))
        return tables.exact().splitlines()[-1]

    # Halfway between 100 and 400 in the logarithm, 4 times down to a quarter.
    assert "about 200 embeddings" in crossing((50, 8), (100, 4), (400, 0.25))
    assert "at none of these" in crossing((50, 8), (100, 4))


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
    (tmp_path / "sigreg-gpu.json").write_text(json.dumps({"benchmark": "sigreg", "device": "A GPU", "results": rows}))
    table = tables.sigreg()
    assert (
        "| A GPU | 4, 128, 192, 1024, 17 | 16 | forward | triton-graph | 0.0301 (0.01 to 0.4) | 10.0 | 3.0 | 1.0 "
        "| 1.0e-07, 2.0e-07 |" in table
    )
    assert "| exact | not there | - | - | - | - |" in table
    assert "not measured" not in table
