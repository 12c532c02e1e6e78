"""The processes that train one model together; nothing else knows of them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import distributed


@dataclass(frozen=True)
class Ranks:
    """This process among those that train one model.

    Attributes:
        rank: Number of this process, from 0.
        count: How many processes there are.
        group: The process group in which they exchange sums; None where there is one process.
    """

    rank: int = 0
    count: int = 1
    group: distributed.ProcessGroup | None = None
