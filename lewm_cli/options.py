"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ANY_ENV = 'One of "lewm envs", or any Gymnasium id; package:Id-v0 imports that package and runs its code.'

Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps. auto takes cuda, then mps, then cpu.")]
MAX_SEED = 2**64 - 1  # as `lewm.config.Training` and `lewm_data.seeds` have it, which --help does without
Seed = Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Of everything random.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Data = Annotated[Path | None, typer.Option(help="HDF5 dataset.", show_default="the newest in $LEWM_HOME/datasets")]
Run = Annotated[Path | None, typer.Option(help="Run directory.", show_default="the newest in $LEWM_HOME/runs")]
