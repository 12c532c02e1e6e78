"""What the tests of this folder share.

They also run where little is installed: CONTRIBUTING.md names the packages that they may use. What is not marked `gpu`
runs everywhere.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
import torch

from lewm.planning import solver as solvers
from lewm.planning.plan import Plan
from lewm.planning.solver import Problem
from lewm_kernels import compiling


@pytest.fixture(autouse=True)
def cuda_device(request: pytest.FixtureRequest) -> Iterator[None]:
    """Ends the run where there is no CUDA device to test on; else gives memory back after each test.

    Several processes of these tests share a device, and PyTorch keeps what it has freed.
    """
    if request.node.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.exit("tests marked gpu need a CUDA device, and PyTorch finds none: see CONTRIBUTING.md", returncode=1)
    yield
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@pytest.fixture
def matmul_precision() -> Iterator[Callable[[str], None]]:
    """Sets PyTorch's for the time of a test."""
    before = torch.get_float32_matmul_precision()
    yield torch.set_float32_matmul_precision
    torch.set_float32_matmul_precision(before)


@pytest.fixture
def nothing_waits() -> Callable[[], AbstractContextManager[None]]:
    """A context in which it is an error if the host waits for the device."""

    @contextlib.contextmanager
    def context() -> Iterator[None]:
        with warnings.catch_warnings():
            # PyTorch says so at the first call in a process, and here warnings are errors.
            warnings.filterwarnings("ignore", "Synchronization debug mode is a prototype feature", UserWarning)
            torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")

    return context


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collects how many environments each captured CUDA graph is for; a kernel compiled in a capture is an error."""
    made = []

    class Noted(solvers.Graph):
        def __init__(
            self, search: Callable[[Problem], Plan], problem: Problem, others: solvers.Graph | None = None
        ) -> None:
            made.append(len(problem))
            with compiling.watch(lambda compiled: pytest.fail("a kernel was compiled in a capture")):
                super().__init__(search, problem, others)

    monkeypatch.setattr(solvers, "Graph", Noted)
    return made
