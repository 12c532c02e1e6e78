"""The number of Triton kernels still to compile, and the progress: so a program can show why its first call takes long.

Triton compiles a kernel when it is first launched with arguments of new types and alignments, and then calls hooks.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lewm_kernels.dispatch import _no_triton


def count(run: Callable[[], object]) -> int:
    """The number of kernels that `run` launches and this process has not compiled yet; 0 where there is no Triton.

    `run` is called, but those kernels are neither compiled nor launched. Their outputs stay as they were, so the
    results of `run` mean nothing, and no other kernel in it may use their outputs as addresses.

    Args:
        run: The function to call once.
    """
    missing = set()

    def skip(*, fn: Any, key: str, **_: object) -> bool:  # noqa: ANN401
        missing.add((fn.module, fn.name, key))
        return True

    with _hook("jit_cache_hook", skip):
        run()
    return len(missing)


@contextmanager
def watch(on_compiled: Callable[[int], None]) -> Iterator[None]:
    """In this block, reports the count after each kernel that was compiled, or read from Triton's cache on disk."""
    compiled = 0

    def tell(**_: object) -> None:
        nonlocal compiled
        compiled += 1
        on_compiled(compiled)

    with _hook("jit_post_compile_hook", tell):
        yield


@contextmanager
def _hook(name: str, hook: Callable[..., object]) -> Iterator[None]:
    """In this block, this hook replaces any other."""
    if _no_triton():
        yield
        return
    runtime = importlib.import_module("triton").knobs.runtime
    before = getattr(runtime, name)
    setattr(runtime, name, hook)
    try:
        yield
    finally:
        setattr(runtime, name, before)
