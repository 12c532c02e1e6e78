"""The machine: its processor, and the memory and the cores that this process may use."""

from __future__ import annotations

import functools
import os
import platform
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

UNKNOWN = 1 << 33  # bytes that are assumed where the system does not say


@functools.cache
def physical_memory(root: Path = Path("/")) -> int:
    """Bytes of the machine's memory, or fewer where a container or another control group of Linux sets a lower limit.

    Source: cgroups(7): /proc/self/cgroup names the groups of a process, whose limits are in `memory.max` (version 2)
    or `memory.limit_in_bytes` (version 1), and also hold for the groups within.

    Args:
        root: The directory that contains `proc` and `sys`.
    """
    if not hasattr(os, "sysconf"):
        return UNKNOWN
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *_limits(root)])


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The name of the processor, or of its kind where the system does not say more.

    Args:
        cpuinfo: What Linux says of the processor.
    """
    for line in _text(cpuinfo).splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _limits(root: Path) -> Iterator[int]:
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # another system than Linux
        return
    mounted = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if not controllers:
            place, limit = mounted, "memory.max"
        elif "memory" in controllers.split(","):
            place, limit = mounted / "memory", "memory.limit_in_bytes"
        else:
            continue
        group = PurePosixPath(name.lstrip("/"))
        for one in (group, *group.parents):  # inside a container its own group may be mounted as the root
            text = _text(place / one / limit)
            if text.isdecimal():  # it is "max" where there is no limit
                yield int(text)


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
