"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lewm_cli import output

ANY_ENV = 'One of "lewm envs", or any Gymnasium id; package:Id-v0 imports that package and runs its code.'

Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps. auto takes cuda, then mps, then cpu.")]
MOST = 10**9  # the largest number that may be given in place of "auto"
MAX_SEED = 2**64 - 1  # the limit of `lewm.config.Training` and `lewm_data.seeds`, which --help does not import
Seed = Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of every random choice.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Detail = Annotated[
    str | None,
    typer.Option(
        help="How finely frames are drawn, where that can be chosen: in cube full, or coarse, which is faster.",
        show_default="full",
    ),
]
Fit = Annotated[
    str,
    typer.Option(
        help="How pictures that are not square become so: crop cuts off, letterbox adds bars, stretch distorts."
    ),
]
WRITABLE = "Give --out the name of a file in a folder that you can write to."

Data = Annotated[Path | None, typer.Option(help="HDF5 dataset.", show_default="the newest in $LEWM_HOME/datasets")]
Run = Annotated[Path | None, typer.Option(help="Run directory.", show_default="the newest in $LEWM_HOME/runs")]

TrainedOn = Annotated[
    Path | None,
    typer.Option("--data", help="The dataset of the run's training, if it has moved.", show_default="the run's own"),
]


def dataset_or_newest(path: Path | None) -> Path:
    """The dataset that was given; else the newest one, which is named on stderr."""
    from lewm.files import newest_dataset

    if path is not None:
        return path
    newest = newest_dataset()
    output.note(f"newest dataset: {newest}")
    return newest


def run_or_newest(path: Path | None) -> Path:
    """The run that was given; else the newest one, which is named on stderr."""
    from lewm.files import newest_run

    if path is not None:
        return path
    newest = newest_run()
    output.note(f"newest run: {newest}")
    return newest


def auto_or_number(text: str, least: int, option: str) -> int | None:
    """The number that was typed, from `least` to `MOST`; None for "auto"."""
    if text == "auto":
        return None
    if not (text.isdecimal() and len(text) <= len(str(MOST)) and least <= int(text) <= MOST):
        raise typer.BadParameter(f"expected auto or {least} to {MOST}, got {text!r:.80}", param_hint=option)
    return int(text)


def assignments(pairs: list[str]) -> dict[str, Any]:
    """The values that `--set KEY=VALUE` options give, by key."""
    split = [pair.partition("=") for pair in pairs]
    wrong = [pair for pair, (_, equals, _) in zip(pairs, split, strict=True) if not equals]
    if wrong:
        raise typer.BadParameter(f"expected KEY=VALUE, got {wrong[0]!r}", param_hint="--set")
    return {key.strip(): value.strip() for key, _, value in split}
