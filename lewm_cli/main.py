"""`lewm`: registers the commands and turns every failure into two lines and an exit code."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lewm_cli import extensions, interruption, output
from lewm_cli.checkpoint import checkpoint
from lewm_cli.collect import collect
from lewm_cli.compare import compare
from lewm_cli.data import data
from lewm_cli.decode import decode
from lewm_cli.doctor import doctor
from lewm_cli.envs import envs
from lewm_cli.plan import plan
from lewm_cli.probe import probe
from lewm_cli.report import report
from lewm_cli.surprise import surprise
from lewm_cli.train import train
from lewm_cli.train_head import train_head
from lewm_cli.train_policy import train_policy

# The base of all errors of usage. It comes from click, or from the copy of click that a newer Typer contains.
_UsageError: type[Any] = typer.BadParameter.__mro__[1]


class _Commands(TyperGroup):
    """The commands. Typer itself would draw errors of usage in a box, and would exit silently at Ctrl-C."""

    def main(self, *args: Any, **extra: Any) -> Any:  # noqa: ANN401  # Typer's signature
        """Parses, runs a command and exits."""
        try:
            sys.exit(super().main(*args, **extra | {"standalone_mode": False}))
        except _UsageError as error:
            sys.exit(output.refuse(error.format_message(), error.ctx.command_path if error.ctx else "lewm"))

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401
        """Runs the command that was asked for."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            sys.exit(output.fail(error, ctx.invoked_subcommand or ""))


app = typer.Typer(
    name="lewm",
    cls=_Commands,
    help="LeWorldModel: learn a small world model from pixels, plan with it, and see what it knows.\n\n"
    "collect, train, plan, probe, surprise VIDEO, decode and report work in that order with no other argument. "
    "Datasets and runs are kept in $LEWM_HOME (~/.lewm).",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich" if output.stdout.encoding.startswith("utf") else None,  # or its boxes would be codes
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(collect)
app.command()(train)
app.command()(train_head)
app.command()(train_policy)
app.command()(plan)
app.command()(decode)
app.command()(probe)
app.command()(surprise)
app.command()(report)
app.command()(compare)
app.add_typer(envs, name="envs")
app.add_typer(data, name="data")
app.add_typer(checkpoint, name="checkpoint")
app.command()(doctor)


@app.callback()
def lewm(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print versions and the commit.")] = False,
    import_: Annotated[
        list[str] | None,
        typer.Option(
            extensions.OPTION,
            metavar="FILE.py|MODULE",
            help="Run this code first; it may add planners, costs, objectives, encoders. Repeatable.",
        ),
    ] = None,
) -> None:
    """Shows versions or help where no command is given."""
    if version:
        _show_version()
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)
    if import_:
        extensions.load(import_)


def _show_version() -> None:
    from lewm.provenance import commit, versions

    found = versions()
    revision = commit()
    of_commit = f" (commit {revision})" if revision else ""
    output.show(f"lewm {found.pop('lewm')}{of_commit}", ", ".join(f"{name} {found[name]}" for name in found))


_COMMANDS = {command.callback.__name__.replace("_", "-") for command in app.registered_commands if command.callback} | {
    str(group.name) for group in app.registered_groups
}


def main() -> None:
    """Entry point. Exit codes: 0, 1 for a failure, 2 for wrong usage, 130 for Ctrl-C, 143 for SIGTERM."""
    output.set_up()
    interruption.listen()
    command = next((word for word in sys.argv[1:] if word in _COMMANDS), "")
    try:
        try:
            app()
        finally:
            output.flush()
    except BrokenPipeError:  # the reader of the output has closed it
        sys.exit(1)
    except Exception as error:
        sys.exit(output.fail(error, command))
