"""Triton chooses when it is imported whether it interprets: each way has files, and a process, of its own.

`test_triton.py` starts those processes. They are told by their variables what they are, and collect their own files,
which no other process does.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.version import Version
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

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


class Driver:
    """Says what a driver is asked before a launch."""

    def __init__(self, capability: int, device: int) -> None:
        self.capability, self.device = capability, device

    def get_current_target(self) -> Any:
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", self.capability, 32)

    def get_current_device(self) -> int:
        return self.device

    def get_current_stream(self, device: int) -> int:
        return 0


class CompileOnly:
    """Stands for a kernel, which is compiled where it would be launched; `compiled` gets its name and the result."""

    def __init__(self, kernel: Any, compiled: list[tuple[str, Any]]) -> None:
        self.kernel, self.compiled = kernel, compiled

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        def launch(**arguments: Any) -> None:
            self.compiled.append((self.kernel.fn.__name__, self.kernel.warmup(grid=grid, **arguments)))

        return launch


@pytest.fixture
def compile_for() -> Iterator[Callable[..., None]]:
    """Has Triton compile for a capability. Kernels of one device are kept: of different targets they are on others."""
    from triton.runtime import driver

    def compile_for(capability: int, device: int | None = None) -> None:
        driver.set_active(Driver(capability, capability if device is None else device))

    yield compile_for
    driver.set_active(None)


@pytest.fixture
def compiled_when_launched(
    monkeypatch: pytest.MonkeyPatch, compile_for: Callable[..., None]
) -> Callable[..., list[tuple[str, Any]]]:
    """Runs something whose kernels, which are in some modules, are compiled for a capability and not launched."""

    def compiled_by(capability: int, modules: list[str], run: Callable[[], object]) -> list[tuple[str, Any]]:
        compiled: list[tuple[str, Any]] = []
        compile_for(capability)
        with monkeypatch.context() as patched:
            for module in map(importlib.import_module, modules):
                for name in [name for name in vars(module) if name.endswith("_kernel")]:
                    patched.setattr(module, name, CompileOnly(getattr(module, name), compiled))
            run()
        return compiled

    return compiled_by


@pytest.fixture
def usage(tmp_path: Path) -> Callable[[Any], dict[str, int]]:
    """Tells registers of a thread (REG), and bytes that it keeps in memory for want of more (STACK)."""
    from triton import knobs

    def usage(compiled: Any) -> dict[str, int]:
        file = tmp_path / "kernel.cubin"
        file.write_bytes(compiled.asm["cubin"])
        command = [knobs.nvidia.cuobjdump.path, "--dump-resource-usage", file]
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return {name: int(re.findall(rf"{name}:(\d+)", shown)[0]) for name in ("REG", "STACK")}

    return usage


class LargestTensor(TorchDispatchMode):
    """Remembers the bytes of the largest tensor that any operation returned."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() * leaf.itemsize for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor)]
        self.bytes = max([self.bytes, *sizes])
        return out


@pytest.fixture
def largest_tensor() -> type[LargestTensor]:
    """Tells the largest tensor that there was within a block."""
    return LargestTensor
