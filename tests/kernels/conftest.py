"""Triton chooses when it is imported whether it interprets: each way has files, and a process, of its own.

`test_triton.py` starts those processes. They are told by their variables what they are, and collect their own files,
which no other process does.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os

import pytest
from packaging.version import Version

interprets = os.environ.get("TRITON_INTERPRET") == "1"
compiles = os.environ.get("LEWM_COMPILE_ONLY") == "1"
belongs_here = {
    **{f"test_{operator}_triton.py": interprets for operator in ("candidates", "rollout", "sigreg")},
    **{f"test_{operator}_compile.py": compiles for operator in ("candidates", "rollout", "sigreg")},
    "test_compiling_compile.py": compiles,
    "test_triton.py": not interprets and not compiles,
}
collect_ignore = [file for file, here in belongs_here.items() if not here]


@pytest.fixture(scope="session")
def interpreter_obstacle() -> str | None:
    """Why Triton's interpreter cannot run these kernels here, or None."""
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    installed = importlib.metadata.version("triton")
    if Version(installed) < Version("3.7"):
        return (
            f"the interpreter of Triton {installed} makes a number of an array of one element, which NumPy refuses "
            "from 2.4 on; Triton 3.7 does not"
        )
    return None


@pytest.fixture(autouse=interprets)
def interpreter(interpreter_obstacle: str | None) -> None:
    """Skips a test where Triton's interpreter cannot run the kernels: all tests of a process that interprets."""
    if interpreter_obstacle:
        pytest.skip(interpreter_obstacle)
