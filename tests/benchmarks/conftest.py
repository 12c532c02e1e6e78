"""Common parts of the tests of the benchmarks."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports a module of the benchmarks."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


@pytest.fixture
def run_quickly() -> Callable[..., dict[str, Any]]:
    """Runs a benchmark on the CPU, with a tiny size; its report."""

    def run(name: str, json_file: Path, *options: str | Path) -> dict[str, Any]:
        quickly = ["--quick", "--device", "cpu", "--json", json_file]
        command = [sys.executable, BENCHMARKS / f"bench_{name}.py", *quickly, *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(json_file.read_text())

    return run
