"""`lewm data verify`: dataset -> whether it still is what was written, and what its writer got wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lewm_cli import options, output

if TYPE_CHECKING:
    from lewm_data.store.repair import Diagnosis
    from lewm_data.store.verify import Verification

SHOWN = 20  # the most episodes that are named one by one; --json names all


def verify(
    file: Annotated[Path, typer.Argument(help="HDF5 dataset.")],
    repair: Annotated[
        bool, typer.Option("--repair", help="Write it anew without its faults; the original is kept beside it.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Read all of a dataset, compare it with the hashes written with it, and say what its writer got wrong.

    Exit code 1 where episodes differ from what was written, or the file cannot be used as it is.
    """
    if repair:
        _repair(file, json)
        return
    from dataclasses import asdict

    from lewm_data.errors import DataError
    from lewm_data.store.dataset import Dataset
    from lewm_data.store.merge import unconverted
    from lewm_data.store.opening import repair_command
    from lewm_data.store.repair import diagnose
    from lewm_data.store.verify import verify as verify_all

    bar = output.progress_bar()
    try:
        with bar, Dataset.open(file) as dataset:
            task = bar.add_task("verify", total=1.0)
            found = verify_all(dataset, lambda share: bar.update(task, completed=share))
            left = unconverted(dataset)
            differing = [dataset.said(episode).removeprefix("episode ") for episode in found.differing]
    except DataError as error:
        diagnosis = diagnose(file) if file.is_file() else None
        if diagnosis is None or not diagnosis.episodes or not diagnosis.faults:
            raise
        faults = "; ".join(diagnosis.faults)
        kept = f"keeps {diagnosis.episodes} episodes"
        raise DataError(f"{error.problem} ({faults})", f'"{repair_command(file)}" {kept}.') from error
    diagnosis = diagnose(file)
    if json:
        output.show_json(asdict(found) | {"habits": diagnosis.habits})
    else:
        _show(found, differing, diagnosis)
    if found.differing:
        output.note("Copy the file again. If the change was meant, delete the hashes: del file['row_hash'] with h5py.")
        raise typer.Exit(1)
    if left:
        output.note(f"Not finished: {left} episodes are not converted yet. Give its lewm data convert once more.")
    if diagnosis.habits and not json:
        output.note(f'"{repair_command(file)}" writes it as lewm does; it can be used as it is, too.')


def _show(found: Verification, differing: list[str], diagnosis: Diagnosis) -> None:
    count = f"{found.path}: {found.episodes} episodes, {found.frames} frames"
    if found.differing:
        output.show(f"{count}; episodes that are not what was written: {_named(differing)}")
        output.show(found.first_difference)
    elif found.hashes:
        output.show(f"{count}, all as they were written")
    else:
        output.show(f"{count}; the file has no hashes to compare them with")
    if found.without_hashes:
        output.show(f"without hashes, since they were added later: {', '.join(found.without_hashes)}")
    for habit in diagnosis.habits:
        output.show(habit)
    if found.fingerprint:
        output.show(f"fingerprint {found.fingerprint}")


def _repair(file: Path, json: bool) -> None:
    from dataclasses import asdict

    from lewm_data.store.repair import repair

    bar = output.progress_bar()
    with bar:
        task = bar.add_task("repair", total=1.0)
        done = repair(file, lambda share: bar.update(task, completed=share))
    if json:
        output.show_json(asdict(done))
        return
    output.show(f"{done.path}: {done.diagnosis.episodes} episodes, {done.frames} frames")
    for said in (*done.diagnosis.faults, *done.diagnosis.habits):
        output.show(f"  {said}")
    if done.diagnosis.lost:
        output.show(f"episodes that could not be kept: {_named(list(map(str, done.diagnosis.lost)))}")
    output.note(f"as it was: {done.original}")


def _named(episodes: list[str]) -> str:
    return ", ".join(episodes[:SHOWN]) + ", ..." * (len(episodes) > SHOWN)
