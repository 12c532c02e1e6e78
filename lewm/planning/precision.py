"""The precision of the predictor's matrix products."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lewm.errors import LewmError

BF16_CAPABILITY = 8  # NVIDIA's tensor cores multiply bfloat16 from this major compute capability on


@dataclass(frozen=True)
class Precision:
    """A precision of the matrix products, and the reason for taking it.

    Attributes:
        name: "fp32", "tf32" or "bf16".
        reason: The reason in words, which follow the name in a report.
    """

    name: str
    reason: str


def choose_precision(wanted: str, device: torch.device, unpacked: str | None = None) -> Precision:
    """The precision to plan with on `device`.

    Args:
        wanted: "auto", or one of the names of `Precision`, which is then taken or refused.
        unpacked: Why the predictor is not packed for the rollout operator, and computes in float32; None where it is.

    Raises:
        LewmError: the device does not have that precision, or the predictor is not packed.
    """
    if unpacked is not None:
        if wanted in ("tf32", "bf16"):
            raise LewmError(f"precision {wanted} cannot be had: {unpacked}", "Use --precision fp32.")
        return Precision("fp32", f"as {unpacked}")
    if wanted == "tf32" and device.type != "cuda":
        raise LewmError(
            f"precision tf32 is there on CUDA devices only, and the model is on {device.type}",
            "Use --precision fp32 or bf16, or --device cuda.",
        )
    if wanted != "auto":
        return Precision(wanted, "as set")
    if device.type != "cuda":
        return Precision("fp32", f"chosen by default on {device.type}")
    major, minor = torch.cuda.get_device_capability(device)
    # bf16 is the fastest by a count of operations and bytes. Whether plans are as good in it on a GPU has still to be
    # measured; a test finds those of a small model as good on a CPU.
    name = "bf16" if major >= BF16_CAPABILITY else "fp32"
    return Precision(name, f"chosen by default for compute capability {major}.{minor}")
