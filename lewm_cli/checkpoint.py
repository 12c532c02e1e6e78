"""`lewm checkpoint`: released checkpoints, read, described and written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lewm_cli import options, output
from lewm_cli.data.convert import converted

if TYPE_CHECKING:
    from lewm.checkpoints.info import CheckpointInfo
    from lewm.importing import ImportReport

FOLDER = (
    "A folder with config.json and weights.pt, weights_epoch_N.pt or model.safetensors; one of these files; or a "
    "repository on the Hugging Face Hub."
)
LAYOUTS = "transformers4 or transformers5: the version of transformers whose names the encoder's tensors have."

checkpoint = typer.Typer(help="Checkpoints of the released code: make a run of one, describe it, write one.")


@checkpoint.command(name="import")
def import_(
    source: Annotated[str, typer.Argument(metavar="DIR|FILE|hf:USER/REPO", help=FOLDER)],
    data: Annotated[
        Path | None,
        typer.Option(
            help="HDF5 dataset of its world, or a folder in another format. Needed: it tells how actions are scaled."
        ),
    ] = None,
    env: Annotated[
        str | None,
        typer.Option(help=options.ANY_ENV + " Any other name: no simulator.", show_default="as the file says"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run directory, new.", show_default="$LEWM_HOME/runs/ENV-imported")
    ] = None,
    json: options.Json = False,
) -> None:
    """Make a run of a released checkpoint, which plan, probe, surprise, decode and the others take."""
    from lewm.importing import ImportRequest, import_checkpoint

    report = import_checkpoint(
        ImportRequest(source, data, env, out), lambda path: converted(path) if path.is_dir() else path
    )
    if json:
        output.show_json(report.as_dict())
        return
    output.note(*_said(report))
    output.show(f"{report.run}: {report.parameters:,} parameters of {report.origin}")


@checkpoint.command()
def export(
    named: Annotated[
        Path | None, typer.Argument(metavar="RUN", help="Run directory.", show_default="the newest run")
    ] = None,
    run: options.Run = None,
    layout: Annotated[str, typer.Option(metavar="LAYOUT", help=LAYOUTS)] = "transformers5",
    out: Annotated[Path | None, typer.Option(help="Folder, new.", show_default="RUN/LAYOUT")] = None,
    json: options.Json = False,
) -> None:
    """Write a run's model as weights.pt and config.json, which stable-worldmodel and le-wm load."""
    from lewm.checkpoints.export import export as write
    from lewm.checkpoints.export import lost
    from lewm.checkpoints.released_names import LAYOUTS as KNOWN
    from lewm.checkpoints.run import load_run

    chosen = next((one for one in KNOWN if one == layout), None)
    if chosen is None:
        raise typer.BadParameter(f"expected {' or '.join(KNOWN)}, got {layout!r:.80}", param_hint="--layout")
    _refuse_both(named, run)
    run = options.run_or_newest(named or run)
    out = out or run / chosen
    model = load_run(run)
    tensors = write(model, chosen, out)
    if json:
        done = {"run": str(run), "out": str(out), "layout": chosen, "tensors": tensors, "lost": lost(model.config)}
        output.show_json(done)
        return
    output.note(
        *lost(model.config),
        f"in $STABLEWM_HOME/checkpoints, load_pretrained({out.name!r}) finds the folder",
    )
    output.show(f"{out}: {tensors} tensors, names of {chosen}")


@checkpoint.command()
def info(
    source: Annotated[
        str | None,
        typer.Argument(metavar="RUN|DIR|FILE|hf:USER/REPO", help=f"A run. {FOLDER}", show_default="the newest run"),
    ] = None,
    run: options.Run = None,
    json: options.Json = False,
) -> None:
    """Say what a run or a released checkpoint holds: sizes, layout, actions, and what is missing or does not fit."""
    from lewm.checkpoints.info import describe, describe_run

    _refuse_both(source, run)
    found = describe_run(options.run_or_newest(run)) if source is None else describe(source)
    if json:
        output.show_json(found.as_dict())
    else:
        output.show(*_lines(found))


def _refuse_both(named: str | Path | None, run: Path | None) -> None:
    if named is not None and run is not None:
        raise typer.BadParameter(f"{str(named)!r:.80} is given too: give one of the two", param_hint="--run")


def _said(report: ImportReport) -> list[str]:
    """What was decided, in sentences."""
    block, one = report.action_block, report.action_dim
    lines = [
        f"an action block of {block} numbers is {report.frameskip} actions of {one}, as the dataset has them: "
        f"frameskip {report.frameskip}"
        + ("" if report.usual_frameskip else ", where published trainings have 5; another number means other data"),
        f"action statistics and bounds are of all actions in {report.dataset}",
    ]
    height, width = report.data_frame_size
    side = report.frame_size
    if (height, width) != (side, side):
        smaller = min(height, width) < side
        lines.append(
            f"frames of {width} x {height} pixels are resized to the model's {side} x {side}"
            + (", which lack what frames of that size show" if smaller else "")
        )
    if report.aside:
        lines.append(f"left aside, as no part of the model: {', '.join(report.aside)}")
    if report.simulator:
        lines.append(f"world: {report.env}")
    else:
        named = "the data name no world" if not report.named else f"lewm has no simulator of {report.env}"
        lines.append(f"{named}: probe, surprise and decode work, and planning needs --env, one of lewm envs")
    lines.append("which episodes its training saw is not known: reports say so")
    return lines


def _lines(found: CheckpointInfo) -> list[str]:
    """A line for each fact, however long: nothing is cut or broken, so that all of it can be copied."""
    facts = found.facts()
    width = max(map(len, facts))
    lines = [f"{found.path}: {found.kind}", ""]
    for name, text in facts.items():
        first, *more = text.splitlines()
        lines += [f"  {name:<{width}}  {first}", *(f"  {'':<{width}}  {line}" for line in more)]
    if found.command:
        lines += ["", "To use it:", f"  {found.command}"]
    return lines
