"""Compiles encoder and predictor with torch.compile, where that is faster."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lewm.model.world_model import WorldModel
from lewm_kernels.dispatch import triton_obstacle


@dataclass(frozen=True)
class Compilation:
    """Whether encoder and predictor are compiled, and why."""

    on: bool
    reason: str

    def __str__(self) -> str:
        return f"{'compiled' if self.on else 'not compiled'}: {self.reason}"


@dataclass(frozen=True, eq=False)
class Compiled:
    """The functions of a world model that the loss calls, in training mode, compiled for the shapes of the first batch.

    In eval mode use the model itself: these functions would be compiled a second time.

    Attributes:
        encode: Computes `WorldModel.encode`; scaling and normalising become a single pass over the frames.
        predict: Computes `WorldModel.predict`.
    """

    encode: Callable[[Tensor], Tensor]
    predict: Callable[[Tensor, Tensor], Tensor]

    @classmethod
    def of(cls, model: WorldModel) -> Compiled:
        """Compiled functions of the model. The model stays as it is, and so do its names in checkpoints.

        Dropout is still a function of the state of the device's default generator, but its masks differ from those of
        the model itself.
        """
        return cls(torch.compile(model.encode, dynamic=False), torch.compile(model.predict, dynamic=False))


def choose_compilation(setting: Literal["auto", "off"], device: torch.device) -> Compilation:
    """Whether to compile for `device`: "auto" compiles on CUDA devices that have what the compiler needs."""
    if setting == "off":
        return Compilation(False, "training.compile is off")
    if device.type != "cuda":
        return Compilation(False, f"the device is {device.type}, not cuda")
    missing = triton_obstacle(device) or _no_c_compiler()
    return Compilation(False, missing) if missing else Compilation(True, "CUDA device, Triton and C compiler are there")


def _no_c_compiler() -> str | None:
    """Why Triton cannot build the code that starts its kernels, or None; it looks for a compiler in the same way."""
    found = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    return None if found else "Triton finds no C compiler"
