"""Where tensors live and what produced a result."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

from lewm.errors import LewmError


def choose_device(name: str = "auto") -> torch.device:
    """The device called `name`; "auto" is cuda, then mps, then cpu, whichever is there first.

    Raises:
        LewmError: the name is no device, or that device is not on this machine.
    """
    if name == "auto":
        found = ("cuda",) * torch.cuda.is_available() + ("mps",) * torch.backends.mps.is_available() + ("cpu",)
        return torch.device(found[0])
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise LewmError(f'device "{name}" cannot be used here: {reason}', "Use --device auto, or cpu.") from error
    return device


def physical_memory(device: torch.device) -> int:
    """Bytes of memory of a device; the machine's own for the CPU and for devices that share it."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def versions() -> dict[str, str]:
    """Versions that a result depends on."""
    return {
        "lewm": version("lewm"),
        "torch": torch.__version__,
        "numpy": version("numpy"),
        "python": platform.python_version(),
    }


def commit() -> str | None:
    """The commit of the working tree that this package runs from, with "+dirty" for uncommitted changes.

    None outside a checkout.
    """
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return None
    try:
        git = ["git", "-C", str(root)]
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        dirty = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + "+dirty" * bool(dirty.strip())
