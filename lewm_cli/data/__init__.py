"""`lewm data`: datasets as files."""

from __future__ import annotations

import typer

from lewm_cli.data.convert import convert
from lewm_cli.data.merge import merge
from lewm_cli.data.verify import verify

data = typer.Typer(help="Make datasets of other people's data, and look after datasets.")
data.command()(convert)
data.command()(merge)
data.command()(verify)
