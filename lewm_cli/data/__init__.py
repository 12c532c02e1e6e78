"""`lewm data`: datasets as files."""

from __future__ import annotations

import typer

from lewm_cli.data.convert import convert
from lewm_cli.data.info import info
from lewm_cli.data.merge import merge
from lewm_cli.data.verify import verify
from lewm_cli.data.view import view

data = typer.Typer(help="Make datasets of other people's data, and look after datasets.")
data.command()(convert)
data.command()(info)
data.command()(view)
data.command()(merge)
data.command()(verify)
