"""What the tests of environments share."""

from pathlib import Path

import pytest


@pytest.fixture
def gymnasium_package(monkeypatch):
    """The tests' own environments can be imported, here and by workers."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
