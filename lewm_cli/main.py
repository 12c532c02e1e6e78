"""`lewm`: registers the commands and turns every failure into two lines and an exit code."""

from __future__ import annotations

import sys
from typing import Any

import typer
from typer.core import TyperGroup

from lewm_cli import output
from lewm_cli.collect import collect
from lewm_cli.data import data
from lewm_cli.decode import decode
from lewm_cli.doctor import doctor
from lewm_cli.envs import envs
from lewm_cli.plan import plan
from lewm_cli.probe import probe
from lewm_cli.report import report
from lewm_cli.surprise import surprise
from lewm_cli.train import train


class _Commands(TyperGroup):
    """The commands; Typer itself would leave without a word where one is interrupted."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401  # Typer's context, which it has from two places
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            sys.exit(output.fail(error))


app = typer.Typer(
    name="lewm",
    cls=_Commands,
    help="LeWorldModel: learn a small world model from pixels, plan with it, and see what it knows.\n\n"
    "collect, train, plan, probe, surprise VIDEO, decode and report work in that order with no other argument. "
    "Datasets and runs are kept in $LEWM_HOME (~/.lewm).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(collect)
app.command()(train)
app.command()(plan)
app.command()(decode)
app.command()(probe)
app.command()(surprise)
app.command()(report)
app.add_typer(envs, name="envs")
app.add_typer(data, name="data")
app.command()(doctor)


def main() -> None:
    """Entry point: exit 0, 1 for a failure, 2 for wrong usage, 130 for Ctrl-C."""
    output.set_up_logging()
    try:
        app()
    except Exception as error:
        sys.exit(output.fail(error))
