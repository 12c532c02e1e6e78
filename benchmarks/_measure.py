"""Times of calls that take turns, and the memory that a call allocates."""

import ctypes
import functools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

Call = Callable[[], object]
Clock = Callable[[], float]

PROFILE_ROWS = 25

# Constants of glibc's malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4

# Captures whose end raised: why, and the graph. `CUDAGraph::capture_end` then does not tell the allocator that the
# capture is over, so that the allocator refuses to record another into the same pool, and still asks this graph which
# streams are its own.
_broken: list[tuple[str, torch.cuda.CUDAGraph]] = []


def best_device() -> torch.device:
    """The accelerator if there is one, else the CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def keep_freed_memory() -> None:
    """Makes glibc keep freed memory of any amount for later allocations.

    Otherwise it gives blocks above 32 MiB back, and the system clears their pages at each allocation: on some virtual
    machines this takes several times as long as the arithmetic, most of all for code that holds much memory. Other C
    libraries stay unchanged.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if hasattr(libc, "gnu_get_libc_version"):
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def seconds(call: Call, device: torch.device, clock: Clock = time.perf_counter) -> float:
    """Time of one call, from an idle device to an idle device."""
    _synchronise(device)
    begin = clock()
    call()
    _synchronise(device)
    return clock() - begin


def in_turns(
    calls: Mapping[str, Call], device: torch.device, turns: int, warm_up: int, clock: Clock = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of each call in each turn: a busy machine is busy for all of them."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(warm_up + turns):
        for name, call in calls.items():
            times[name].append(seconds(call, device, clock))
    return {name: own[warm_up:] for name, own in times.items()}


def spread(times: list[float]) -> dict[str, Any]:
    """Median and 20/80 percentiles, in milliseconds."""
    low, _, _, high = statistics.quantiles(times, n=5, method="inclusive") if len(times) > 1 else 4 * times
    median = statistics.median(times)
    return {
        "turns": len(times),
        "median_ms": round(1e3 * median, 4),
        "p20_ms": round(1e3 * low, 4),
        "p80_ms": round(1e3 * high, 4),
    }


def median_ratio(times: list[float], own: list[float]) -> float:
    """Median over turns of `times` as a multiple of `own`."""
    return float(f"{statistics.median(a / b for a, b in zip(times, own, strict=True)):.4g}")


def captured(call: Call) -> Call:
    """The replay of a CUDA graph of a call. It returns the call's result, which each replay writes again.

    All graphs share one pool of memory: only one runs at a time, and their results alone outlive a replay.

    Raises:
        RuntimeError: An earlier capture broke, so that there can be no other in this process.
        Exception: Whatever the call raises.
    """
    if not can_capture():
        raise RuntimeError(f"no graph can be captured after this failure of another: {_broken[0][0]}")
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        call()
    torch.cuda.current_stream().wait_stream(side)
    graph, result, failure = torch.cuda.CUDAGraph(), None, None
    try:
        # The outer context restores the stream where the end of the capture raises, which then leaves its own one set.
        with torch.cuda.stream(torch.cuda.current_stream()), torch.cuda.graph(graph, pool=_graph_memory()):
            try:
                result = call()
            except Exception as error:  # the end of the capture may raise too, and say less
                failure = error
    except RuntimeError as error:
        _broken.append((reason(failure or error), graph))
        raise (failure or error) from None
    if failure is not None:
        raise failure

    def replay() -> object:
        graph.replay()
        return result

    return replay


def can_capture() -> bool:
    """Whether no capture broke in this process."""
    return not _broken


def profile(name: str, call: Call, device: torch.device, file: Path, warm_up: int = 1) -> None:
    """Appends the times of the kernels of one call to a file."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    for _ in range(warm_up):
        call()
    _synchronise(device)
    with torch.profiler.profile(activities=activities) as found:
        call()
        _synchronise(device)
    key = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    table = found.key_averages().table(sort_by=key, row_limit=PROFILE_ROWS, max_name_column_width=60)
    with file.open("a") as out:
        out.write(f"{name}\n{table}\n\n")


def peak_bytes(call: Call, device: torch.device) -> int | None:
    """The most memory that one call holds beyond its inputs; None where the device does not tell.

    On the CPU the running sum of the allocator's events: every tensor, not the scratch space of the BLAS.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    if device.type != "cpu":
        return None
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        call()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace.json"
        profile.export_chrome_trace(str(file))
        events = [e for e in json.loads(file.read_text())["traceEvents"] if e["name"] == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda e: e["args"]["Ev Idx"]):
        held += event["args"]["Bytes"]
        peak = max(peak, held)
    return peak


def reason(error: Exception) -> str:
    """The text of an exception, in one line."""
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"


def _synchronise(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


@functools.cache
def _graph_memory() -> tuple[int, int]:
    return torch.cuda.graph_pool_handle()
