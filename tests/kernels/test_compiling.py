"""Without Triton, nothing has to be compiled."""

import pytest

from lewm_kernels import compiling


def test_without_triton_all_runs_and_nothing_is_counted(monkeypatch):
    monkeypatch.setattr(compiling, "_no_triton", lambda: "triton is not installed")
    monkeypatch.setattr(compiling.importlib, "import_module", lambda name: pytest.fail(f"{name} was imported"))
    ran = []
    assert compiling.count(lambda: ran.append("counted")) == 0
    with compiling.watch(lambda compiled: pytest.fail("compiled")):
        ran.append("watched")
    assert ran == ["counted", "watched"]
