"""Shows a result even where its files could not be written."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def shown_anyway(show: Callable[[Any], None]) -> Iterator[None]:
    """Shows the result that an error carries, and lets the command fail with what went wrong.

    Args:
        show: Shows the result as the command does where all is well.
    """
    from lewm.report_files import NotKeptError

    try:
        yield
    except NotKeptError as error:
        show(error.report)
        raise error.cause from None
