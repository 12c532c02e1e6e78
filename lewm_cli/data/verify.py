"""`lewm data verify`: dataset -> whether it still is what was written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lewm_cli import options, output

SHOWN = 20  # the most episodes that are named one by one; --json names all


def verify(
    file: Annotated[Path, typer.Argument(help="HDF5 dataset.")],
    json: options.Json = False,
) -> None:
    """Read all of a dataset and compare it with the hashes written with it; exit code 1 where episodes differ."""
    from dataclasses import asdict

    from lewm_data.store.dataset import Dataset
    from lewm_data.store.verify import verify as verify_all

    bar = output.progress_bar()
    with bar, Dataset.open(file) as dataset:
        task = bar.add_task("verify", total=1.0)
        found = verify_all(dataset, lambda share: bar.update(task, completed=share))
    if json:
        output.show_json(asdict(found))
    else:
        count = f"{found.path}: {found.episodes} episodes, {found.frames} frames"
        if found.differing:
            named = ", ".join(map(str, found.differing[:SHOWN])) + ", ..." * (len(found.differing) > SHOWN)
            output.show(f"{count}; episodes that are not what was written: {named}")
            output.show(found.first_difference)
        elif found.hashes:
            output.show(f"{count}, all as they were written")
        else:
            output.show(f"{count}; the file has no hashes to compare them with")
        if found.without_hashes:
            output.show(f"without hashes, since they were added later: {', '.join(found.without_hashes)}")
        if found.fingerprint:
            output.show(f"fingerprint {found.fingerprint}")
    if found.differing:
        output.note("Copy the file again. If the change was meant, delete the hashes: del file['row_hash'] with h5py.")
        raise typer.Exit(1)
