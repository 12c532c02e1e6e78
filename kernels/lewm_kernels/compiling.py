"""How many Triton kernels are still to be compiled, and how far that is: so that a first call does not seem to hang.

Triton compiles a kernel when it is first launched with arguments of new types and alignments, and tells hooks of it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lewm_kernels.dispatch import _no_triton


def count(run: Callable[[], object]) -> int:
    """How many kernels `run` launches that this process has not compiled yet; 0 where there is no Triton.

    Everything that `run` does is done, apart from launches of those kernels: they are neither compiled nor launched.
    What they would have written stays as it was, so the results of `run` mean nothing, and no other kernel in it may
    take an address from them.

    Args:
        run: To be called once.
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
    """Meanwhile, say after each kernel that was compiled, or read from Triton's cache on disk, how many these are."""
    compiled = 0

    def tell(**_: object) -> None:
        nonlocal compiled
        compiled += 1
        on_compiled(compiled)

    with _hook("jit_post_compile_hook", tell):
        yield


@contextmanager
def _hook(name: str, hook: Callable[..., object]) -> Iterator[None]:
    """Meanwhile, this hook in place of any other."""
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
