"""The measuring functions of the benchmarks, and the contents of their reports."""

import contextlib
import json
import types
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


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
            if self.breaks:  # like PyTorch's: the stream stays
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
    assert measure.can_capture()  # the capture ended without an error

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


def test_philox(tmp_path, run_quickly):
    report = run_quickly("philox", tmp_path / "philox.json")
    assert {row["path"] for row in report["results"]} == {"lewm_kernels.normal", "torch.randn"}
    assert all(row["ns_per_number"] > 0 for row in report["results"])


def test_a_difference_of_times_is_not_negative(module):
    parts = module("_planning_parts")
    assert parts.difference([3.0, 1.0], [1.0, 2.0]) == [2.0, parts.RESOLUTION]
    assert module("_measure").spread([parts.RESOLUTION])["median_ms"] == 0


def test_outside_a_checkout_the_report_names_the_commit_that_it_is_told(module, monkeypatch):
    report = module("_report")
    monkeypatch.setattr(report, "_git", lambda *arguments: None)
    assert report.environment()["commit"] is None
    monkeypatch.setenv("LEWM_COMMIT", 40 * "a")
    assert report.environment()["commit"] == 40 * "a"
    assert report.environment()["dirty"] is None


@pytest.mark.parametrize("name", ["sigreg", "sigreg-exact", "philox", "planning"])
def test_committed_results_are_of_a_commit(name):
    report = json.loads((BENCHMARKS / "results" / f"{name}-cpu.json").read_text())
    assert report["benchmark"] == name
    assert len(report["commit"]) == 40
    assert report["results"]
