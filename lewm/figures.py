"""Figures in one style. Matplotlib is an extra: nothing else of the library imports it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lewm.errors import missing
from lewm.files import replacing
from lewm.shown_text import visible

DPI = 110
STYLE: dict[Any, Any] = {  # matplotlib's own names
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": "medium",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
}


def import_figure() -> Any:  # noqa: ANN401
    """Matplotlib's Figure. Call it before work that ends in a picture.

    Raises:
        LewmError: it is not installed; says what to install.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise missing("pictures need matplotlib", "plot") from error
    return Figure


@contextlib.contextmanager
def figure(path: Path, width: float, height: float) -> Iterator[Any]:
    """A figure of so many inches, written to `path` when the block ends without an error; it shows any text."""
    figure_class = import_figure()
    import matplotlib as mpl
    import matplotlib.text

    with mpl.rc_context(STYLE):
        drawn = figure_class(figsize=(width, height), layout="constrained")
        yield drawn
        for text in drawn.findobj(mpl.text.Text):  # matplotlib itself sets the texts of the ticks, later
            lines = text.get_text().split("\n")
            text.set_text("\n".join(map(visible, lines)))
            if "$" in text.get_text():
                text.set_parse_math(False)
        with replacing(path) as temporary:
            drawn.savefig(temporary, dpi=DPI)
