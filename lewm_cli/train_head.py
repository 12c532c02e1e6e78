"""`lewm train-head`: run -> a head that tells the steps between two moments, a cost for goals far away."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from lewm_cli import options, output, results

if TYPE_CHECKING:
    from rich.table import Table

    from lewm.heads.command import HeadReport


def train_head(
    run: options.Run = None,
    data: options.TrainedOn = None,
    longest: Annotated[
        int | None,
        typer.Option(min=1, help="The most steps between two moments.", show_default="those of the longest episode"),
    ] = None,
    imagined: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the pairs whose earlier latent is imagined.")
    ] = 0.5,
    steps: Annotated[int, typer.Option(min=1, help="Training steps of the head.")] = 2000,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Learn on a run's frozen latents how many steps lie between two moments: a cost for goals that are far away.

    The head is kept in the run, and "lewm plan --cost head" plans with it.
    """
    from rich.progress import TaskProgressColumn

    from lewm.heads.command import HeadRequest, train_head_of
    from lewm.heads.files import HEAD
    from lewm.heads.temporal import HeadSettings
    from lewm.runtime import choose_device

    run = options.run_or_newest(run)
    settings = replace(HeadSettings(), longest=longest, imagined=imagined, steps=steps, seed=seed)
    where = choose_device(device)

    def show(report: HeadReport) -> None:
        if json:
            output.show_json(report.as_dict())
        else:
            output.show(_table(report))

    with results.shown_anyway(show), output.progress_bar(TaskProgressColumn()) as bar:
        task = bar.add_task("head", total=1)
        report, path = train_head_of(
            HeadRequest(run, data, settings),
            where,
            lambda what, share: output.show_stage(bar, task, what, share),
        )
    output.note(f"head: {run / HEAD}")
    output.note(f"report: {path}")
    show(report)


def _table(report: HeadReport) -> Table:
    from rich.table import Table

    from lewm.held_out import held_out

    table = Table(
        "steps apart",
        "from real latents",
        "imagined",
        title=f"mean error in steps, {held_out('episodes', report.held_out)}",
        title_justify="left",
    )
    for error in report.errors:
        shown = ("-" if value is None else f"{value:.1f}" for value in (error.real, error.imagined))
        table.add_row(f"{error.least} to {error.most}", *shown)
    table.caption = "\n".join(
        f"rank correlation with the steps, {kind}: head {ranking.head:.2f}, latent distance {ranking.distance:.2f}"
        for kind, ranking in (("real", report.real), ("imagined", report.imagined))
        if ranking is not None
    )
    table.caption_justify = "left"
    return table
