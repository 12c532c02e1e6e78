"""Shared by all tests."""

from __future__ import annotations

import importlib.util
import signal
from pathlib import Path
from types import ModuleType

import matplotlib as mpl
import pytest
from hypothesis import HealthCheck, settings

# A shell makes what it runs in the background deaf to Ctrl-C; some tests press it, and expect what a terminal sees.
signal.signal(signal.SIGINT, signal.default_int_handler)

mpl.use("agg")

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of reference values of the released code."""
    return GOLDEN


@pytest.fixture(scope="session")
def fill() -> ModuleType:
    """The module that draws the inputs and weights behind the reference values."""
    spec = importlib.util.spec_from_file_location("fill", GOLDEN / "fill.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
