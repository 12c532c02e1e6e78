"""`lewm data info`: dataset -> what is in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lewm_cli import options, output
from lewm_cli.data.hint import FrameskipHint, hint_of, said_hint

if TYPE_CHECKING:
    from rich.table import Table

    from lewm_data.store.summary import Summary

LONGEST = 60  # characters of an attribute that are shown; --json shows all


def info(
    file: Annotated[
        Path | None, typer.Argument(help="HDF5 dataset.", show_default="the newest in $LEWM_HOME/datasets")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="A PNG with a grid of frames.", show_default="FILE-frames.png beside it")
    ] = None,
    frameskip_hint: FrameskipHint = False,
    json: options.Json = False,
) -> None:
    """Show what is in a dataset: episodes, steps, rate, columns with their ranges, and a picture of its frames."""
    from dataclasses import asdict

    from lewm.files import check_output
    from lewm_data.errors import DataError
    from lewm_data.store.dataset import Dataset
    from lewm_data.store.merge import unconverted
    from lewm_data.store.summary import summarise
    from lewm_data.video.dataset_pictures import draw_grid

    file = options.dataset_or_newest(file)
    if picture is not None:
        check_output(picture, "Give --picture the name of a file in a folder that you can write to.")
    with Dataset.open(file) as dataset:
        summary = summarise(dataset)
        left = unconverted(dataset)
        hint = hint_of(file) if frameskip_hint else None
        if json:
            hinted = {} if hint is None else {"frameskip_hint": asdict(hint)}
            output.show_json(asdict(summary) | {"seconds": summary.seconds, "not_converted": left} | hinted)
        else:
            unfinished = [f"not finished: {left} episodes are not converted yet"] if left else []
            hinted_lines = [] if hint is None else said_hint(hint)
            output.show(*_lines(summary), *unfinished, *hinted_lines, "", _columns(summary), _attributes(summary))
        drawn = picture or file.with_name(f"{file.stem}-frames.png")
        try:
            drawn.parent.mkdir(parents=True, exist_ok=True)
            draw_grid(dataset, drawn)
        except (DataError, OSError) as error:
            if picture is not None:
                raise
            output.note(f"no picture: {str(error).splitlines()[0]}")
        else:
            output.note(f"picture: {drawn}")


def _lines(summary: Summary) -> list[str]:
    from lewm_data.convert.words import some

    y, x = summary.frame_size
    rate = "" if summary.fps is None else f", {summary.fps:g} a second, {summary.seconds:,.0f} s together"
    lines = [
        f"{summary.path}: {summary.size / 1e6:,.1f} MB",
        f"{summary.episodes:,} episodes of {summary.shortest:,} to {summary.longest:,} steps (median "
        f"{summary.median:,}), {summary.steps:,} steps{rate}",
        f"frames of {x} x {y} pixels",
    ]
    named = [name for name in summary.sources if name is not None]
    if named:
        lines.append(f"recordings: {some(named)} (lewm data info --json names that of each episode)")
    if summary.left_out:
        lines.append(f"left out, as they could not be read: {some([one.name for one in summary.left_out])}")
    if summary.action_names:
        lines.append(f"an action is {some(summary.action_names)}")
    if not summary.hashes:
        lines.append("no hashes: changes to the file cannot be noticed")
    if summary.interrupted:
        lines.append("not closed: its writer was interrupted, or is at work")
    return lines


def _columns(summary: Summary) -> Table:
    table = output.plain_table("column", "type", "shape of a row", "least", "greatest", "missing")
    for one in summary.columns:
        shape = " x ".join(map(str, one.shape)) or "1"
        ends = ["" if value is None else f"{value:.4g}" for value in (one.least, one.greatest)]
        table.add_row(one.name, one.dtype, shape, *ends, f"{one.missing:.1%}" if one.missing else "")
    return table


def _attributes(summary: Summary) -> Table:
    table = output.plain_table("attribute", "value")
    for name, value in summary.attributes.items():
        text = str(value)
        table.add_row(name, text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}...")
    return table
