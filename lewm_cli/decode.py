"""`lewm decode`: run -> pictures of what is in its latent space."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lewm_cli import options, output, results

if TYPE_CHECKING:
    from rich.table import Table

    from lewm.decoding.command import DecodeReport


def decode(
    run: options.Run = None,
    data: Annotated[
        Path | None,
        typer.Option(help="The dataset of the run's training, if it has moved.", show_default="the run's own"),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Training steps of the decoder.", show_default="1000, or as it was trained"),
    ] = None,
    episode: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Episode to roll out, one that the decoder was not trained on.",
            show_default="three drawn by the seed",
        ),
    ] = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Train the decoder again even if the run has one.")
    ] = False,
    json: options.Json = False,
) -> None:
    """See what the latent space holds: decode frames, and what the model expects beside what happened.

    The decoder is trained on the run's frozen latents, and only used to look. It is kept in the run and used again.
    """
    from rich.progress import TaskProgressColumn

    from lewm.decoding.command import DecodeRequest, decode_run
    from lewm.decoding.decoder_file import DECODER
    from lewm.runtime import choose_device

    run = options.run_or_newest(run)
    request = DecodeRequest(run, data, steps, episode, seed, retrain)
    where = choose_device(device)

    def show(report: DecodeReport) -> None:
        if json:
            output.show_json(report.as_dict())
        else:
            output.show(_table(report))

    with results.shown_anyway(show), output.progress_bar(TaskProgressColumn()) as bar:
        task = bar.add_task("decoder", total=1)
        report, path = decode_run(request, where, lambda share: bar.update(task, completed=share))
    if not report.trained:
        output.note(f"decoder: {run / DECODER}, trained before; --retrain trains it again")
    output.note(f"report: {path}")
    output.note(f"pictures: {path.with_suffix('')}")
    show(report)


def _table(report: DecodeReport) -> Table:
    """The rollout's error after the first block, and after each further doubling."""
    from rich.table import Table

    from lewm.held_out import held_out

    table = Table(
        "blocks ahead", "imagined", "nothing moves", title="distance to the true latent", title_justify="left"
    )
    for error in report.open_loop:
        if error.blocks & (error.blocks - 1) == 0:
            table.add_row(str(error.blocks), f"{error.rollout:.2f}", f"{error.still:.2f}")
    fidelity = report.fidelity
    table.caption = (
        f"decoder: mean squared error {fidelity.error:.2g} a pixel, of the mean image {fidelity.mean_image:.2g}\n"
        f"measured on {held_out('episodes', report.held_out)}"
    )
    table.caption_justify = "left"
    return table
