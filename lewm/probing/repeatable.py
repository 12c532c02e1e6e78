"""Results that are the same every time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The CPU's global generator starts from `seed` inside the block; after it, it goes on as if nothing had been."""
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed)
        yield


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch computes on one CPU thread inside the block.

    Sums then have the same order on every machine. Besides, threads only wait for each other in small operations.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
