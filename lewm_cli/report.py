"""`lewm report`: run -> one static page of its numbers, pictures and videos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lewm_cli import options, output


def report(
    run: options.Run = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the page; with --single-file its file.", show_default="report or report.html in the run"
        ),
    ] = None,
    single_file: Annotated[
        bool, typer.Option("--single-file", help="Put pictures, films and data into the page: one file to send.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Gather the newest of everything a run holds into one page that opens anywhere, offline."""
    from lewm.page.command import write_page

    run = options.run_or_newest(run)
    result = write_page(run, out, single_file)
    if json:
        output.show_json(result.as_dict())
    else:
        output.show(str(result.page))
