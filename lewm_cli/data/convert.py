"""`lewm data convert`: a source in another format -> dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lewm_cli import options, output

if TYPE_CHECKING:
    from lewm_data.convert.convert import Plan, Report


def convert(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A file or a folder; the format is recognised.")],
    out: Annotated[Path, typer.Option(help="The dataset to write; one that this conversion began is continued.")],
    camera: Annotated[str | None, typer.Option(help="The camera to take, where there are several.")] = None,
    fps: Annotated[
        float | None, typer.Option(min=1e-3, max=1e4, help="Steps a second.", show_default="as recorded")
    ] = None,
    frame_size: Annotated[
        int | None,
        typer.Option(min=8, max=4096, help="Sides of the frames in pixels.", show_default="as recorded, at most 224"),
    ] = None,
    fit: options.Fit = "crop",
    resample: Annotated[
        str, typer.Option(help="With --fps, how actions become one: hold (the first), mean or sum.")
    ] = "hold",
    part: Annotated[
        str | None,
        typer.Option(
            metavar="K/N",
            help="Convert the K-th of N parts of the episodes; lewm data merge joins them.",
            show_default="all",
        ),
    ] = None,
    env: Annotated[
        str | None, typer.Option(help="What the dataset calls its world.", show_default="the source's name")
    ] = None,
    skip_damaged: Annotated[
        bool, typer.Option("--skip-damaged", help="Leave out episodes that cannot be read, instead of stopping.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    json: options.Json = False,
) -> None:
    """Make a dataset of recordings in another format, and say what was assumed.

    docs/data.md describes the formats. The same command goes on where it was interrupted.
    """
    from lewm_data.convert.convert import Request
    from lewm_data.convert.convert import convert as convert_source

    request = Request(source, out, camera, fps, frame_size, fit, resample, _part(part), env, overwrite, skip_damaged)
    with output.progress_bar(output.count_of("episodes")) as bar:
        task = bar.add_task("", total=None)

        def begin(plan: Plan) -> None:
            output.note(f"{source}: {plan.format}, {plan.episodes} episodes", *(f"  {one}" for one in plan.assumptions))
            if plan.done:
                output.note(f"goes on after {plan.done} episodes")
            bar.update(task, total=plan.episodes, completed=plan.done)

        report = convert_source(request, begin, lambda episodes, share: bar.update(task, completed=episodes + share))
    if json:
        output.show_json(_as_dict(report))
    else:
        output.show(*_summary(report))


def _part(text: str | None) -> tuple[int, int]:
    if text is None:
        return 1, 1
    part, slash, parts = text.partition("/")
    if not (slash and part.isdecimal() and parts.isdecimal() and len(text) < 20):
        raise typer.BadParameter(f"expected K/N, for example 2/4, got {text!r:.80}", param_hint="--part")
    return int(part), int(parts)


def _as_dict(report: Report) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(report)


def _summary(report: Report) -> list[str]:
    said = [f"{report.out}: {report.episodes} episodes, {report.frames} frames, in {report.seconds:.1f} s"]
    if report.footage:
        said[0] += f" ({report.footage / report.seconds:.1f} times as fast as recorded)"
    if report.left_out:
        said.append(f"left out: {len(report.left_out)} episodes that cannot be read")
        said += [f"  {problem}" for _, problem in report.left_out]
    return said
