"""`lewm data merge`: datasets -> one dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lewm_cli import options, output


def merge(
    files: Annotated[list[Path], typer.Argument(help="HDF5 datasets of one world.")],
    out: Annotated[Path, typer.Option(help="The dataset to write; one that this command began is continued.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    json: options.Json = False,
) -> None:
    """Make one dataset of several, such as the parts that lewm data convert --part wrote."""
    from dataclasses import asdict

    from lewm.files import check_output
    from lewm_data.store.merge import merge as merge_all

    check_output(out, options.WRITABLE)
    out.parent.mkdir(parents=True, exist_ok=True)
    with output.progress_bar() as bar:
        task = bar.add_task("merge", total=1.0)
        merged = merge_all(files, out, overwrite, lambda share: bar.update(task, completed=share))
    if json:
        output.show_json(asdict(merged))
        return
    output.show(f"{merged.out}: {merged.episodes} episodes, {merged.frames} frames")
    if merged.left_out:
        output.note(f"left out, as not all have it alike: {', '.join(merged.left_out)}")
