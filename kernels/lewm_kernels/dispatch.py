"""The only place that decides which implementation of an operator runs, and why."""

from __future__ import annotations

import functools
import importlib
import os
from dataclasses import dataclass

import torch

# Names the backend where the caller says "auto".
VARIABLE = "LEWM_KERNELS"

# Operators and their backends; "philox" stands for uniform, normal and directions too.
OPERATORS = {
    "sigreg": ("torch", "compiled", "triton"),
    "sigreg_exact": ("torch",),
    "philox": ("torch",),
    "candidates": ("torch", "triton"),
    "rollout": ("torch", "triton"),
}

# The least compute capability for which Triton compiles on NVIDIA.
_LEAST_CAPABILITY = (8, 0)


class BackendError(ValueError):
    """The backend that was asked for by name does not exist or cannot run here."""


@dataclass(frozen=True)
class Choice:
    """A backend and the reason for the choice."""

    backend: str
    reason: str


def choose(operator: str, device: torch.device, backend: str = "auto", unsupported: str | None = None) -> Choice:
    """The backend that `operator` takes for tensors on `device`.

    "auto" takes the backend that the environment variable LEWM_KERNELS names; where the variable is not set, it takes
    Triton on CUDA devices where that can run, else PyTorch. "compiled", PyTorch under torch.compile, waits seconds for
    a compiler and is only taken by name. A backend that is named is taken or refused, never replaced. The variable
    does not concern operators with only one backend, nor operators that do not have the backend that it names.

    Args:
        operator: One of `OPERATORS`.
        device: The device of the tensors.
        backend: "auto", or one of the operator's backends.
        unsupported: The property of these tensors that the Triton version does not support; None if there is none.

    Raises:
        BackendError: If the operator has no such backend, or it cannot run here.
    """
    known = OPERATORS[operator]
    if len(known) == 1:
        return Choice(known[0], "it has no other version")
    asked, origin = backend, f'backend="{backend}"'
    if backend == "auto":
        asked = os.environ.get(VARIABLE) or "auto"
        origin = f"{VARIABLE}={asked}"
        if asked not in known and any(asked in others for others in OPERATORS.values()):
            asked = "auto"  # the variable is meant for operators that have this backend
    if asked not in ("auto", *known):
        raise BackendError(
            f"{operator}: expected one of the backends auto, {', '.join(known)}, got {origin}.\n"
            f"Leave it at auto unless you compare them."
        )
    if asked in ("torch", "compiled"):
        return Choice(asked, f"{origin} asks for it")
    obstacle = unsupported or triton_obstacle(device)
    if asked == "triton":
        if obstacle:
            raise BackendError(
                f"{operator}: expected to run in Triton because of {origin}, but {obstacle}.\n"
                "Ask for auto, which takes PyTorch in such a case; lewm doctor shows what runs where."
            )
        return Choice("triton", f"{origin} asks for it")
    if device.type != "cuda":  # Triton's interpreter could run here, but is taken only by name
        return Choice("torch", f"the device is {device.type}, not cuda")
    return Choice("torch", obstacle) if obstacle else Choice("triton", "CUDA device and Triton are there")


def triton_obstacle(device: torch.device) -> str | None:
    """The reason why Triton cannot run on the device, or None."""
    if os.environ.get("TRITON_INTERPRET") == "1":
        return _no_triton()
    if device.type != "cuda":
        return f"the device is {device.type}, not cuda"
    return _no_triton() or _no_driver(device)


@functools.cache
def _no_triton() -> str | None:
    try:
        importlib.import_module("triton")
    except ModuleNotFoundError as error:
        return "triton is not installed" if error.name == "triton" else f"triton cannot be imported: {error}"
    except (ImportError, OSError, RuntimeError) as error:
        return f"triton cannot be imported: {_first_line(error)}"
    return None


@functools.cache
def _no_driver(device: torch.device) -> str | None:
    try:
        importlib.import_module("triton").runtime.driver.active.get_current_target()
        capability = torch.cuda.get_device_capability(device)
    except (AssertionError, ImportError, OSError, RuntimeError) as error:  # a torch without CUDA raises AssertionError
        return f"triton has no driver for it: {_first_line(error)}"
    if torch.version.hip is None and capability < _LEAST_CAPABILITY:
        least, found = (".".join(map(str, version)) for version in (_LEAST_CAPABILITY, capability))
        return f"its compute capability is {found}, and Triton needs {least}"
    return None


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
