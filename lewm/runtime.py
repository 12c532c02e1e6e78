"""The device that tensors are on, its memory, and a clock that waits for its work."""

from __future__ import annotations

import time

import torch

from lewm.errors import LewmError
from lewm_data import machine


def choose_device(name: str = "auto") -> torch.device:
    """The device called `name`; "auto" is the first of cuda, mps and cpu that is there.

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
    """Bytes of a device's memory; for the CPU and devices that share its memory, the bytes this process may have."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return machine.physical_memory()


def one_of(device: torch.device, number: int) -> torch.device:
    """The device for process `number` of those that share a machine: each takes another one of a kind, in turns.

    A device that has a number already stays, and so does the CPU, of which there is one.
    """
    if device.type == "cpu" or device.index is not None:
        return device
    return torch.device(device.type, number % torch.accelerator.device_count())


def clock(device: torch.device) -> float:
    """Seconds, read when all work that was given to the device is done."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()
