"""The highest rates of the machine: a large copy in its memory, and a large matrix product in each precision.

    python benchmarks/bench_ceilings.py --json benchmarks/results/ceilings-gpu.json

Every byte of a copy counts twice, read and written. Operands are random: zeros can be faster than anything real.
"""

import argparse
import functools
import statistics
from pathlib import Path
from typing import Any

import torch
from _measure import Call, best_device, in_turns
from _report import write_report
from torch import Tensor

from lewm_kernels.rollout.torch import products_in

# Bytes of the copied tensor, which no cache holds, and the side of the matrices.
COPIED = {"cuda": 2**30, "cpu": 2**28}
SIDE = {"cuda": 8192, "cpu": 2048}
TINY_COPIED, TINY_SIDE = 2**20, 128


def copy(source: Tensor, target: Tensor) -> None:
    """Copies a tensor through the device's memory."""
    target.copy_(source)


def product(a: Tensor, b: Tensor, out: Tensor, precision: str) -> None:
    """`a` times `b`; float32 with the tensor cores' short mantissa where `precision` is tf32."""
    with products_in(precision):
        torch.mm(a, b, out=out)


def main() -> None:
    """Measures, prints, writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write the results")
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--device", default="auto", help="auto, or a torch device")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run at all?")
    options = parser.parse_args()
    device = torch.device(options.device) if options.device != "auto" else best_device()
    copied, side = (TINY_COPIED, TINY_SIDE) if options.quick else (COPIED[device.type], SIDE[device.type])
    source = torch.randn(copied // 4, device=device)
    calls: dict[str, Call] = {"copy": functools.partial(copy, source, torch.empty_like(source))}
    work = {"copy": 2 * copied}
    for precision in ("bf16", "tf32", "fp32") if device.type == "cuda" else ("fp32",):
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        a, b, out = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(3))
        calls[precision] = functools.partial(product, a, b, out, precision)
        work[precision] = 2 * side**3
    rows: list[dict[str, Any]] = []
    for name, times in in_turns(calls, device, options.turns, warm_up=3).items():
        rate = work[name] / statistics.median(times)
        row: dict[str, Any] = {"what": "copy" if name == "copy" else f"matrix product, {name}", "device": str(device)}
        row |= {"threads": torch.get_num_threads(), "turns": options.turns}
        rows.append(row | ({"tb_per_s": rate / 1e12} if name == "copy" else {"tflop_per_s": rate / 1e12}))
        print(f"{row['what']}: {rate / 1e12:.3g} T{'B' if name == 'copy' else 'FLOP'}/s", flush=True)
    if options.json:
        write_report(options.json, "ceilings", rows)


if __name__ == "__main__":
    main()
