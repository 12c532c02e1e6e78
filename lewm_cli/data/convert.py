"""`lewm data convert`: a source in another format -> dataset."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lewm_cli import options, output
from lewm_cli.data.hint import FrameskipHint, hint_of, said_hint
from lewm_data.video.placing import CROP, LARGEST_SIDE

if TYPE_CHECKING:
    from lewm_data.convert.request import Plan, Report, Request


def convert(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A file or a folder; the format is recognised.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="The dataset to write; one that this conversion began is continued.",
            show_default="$LEWM_HOME/datasets/SRC.h5",
        ),
    ] = None,
    camera: Annotated[str | None, typer.Option(help="The camera to take, where there are several.")] = None,
    fps: Annotated[
        float | None, typer.Option(min=1e-3, max=1e4, help="Steps a second.", show_default="as recorded")
    ] = None,
    frame_size: Annotated[
        int | None,
        typer.Option(
            min=8,
            max=4096,
            help="Sides of the frames in pixels.",
            show_default=f"as recorded, at most {LARGEST_SIDE}",
        ),
    ] = None,
    fit: options.Fit = CROP,
    color_order: Annotated[
        str | None,
        typer.Option(
            help="The order of the colours in the pictures: rgb, or bgr where red and blue are exchanged.",
            show_default="as the format says",
        ),
    ] = None,
    flip: Annotated[
        str,
        typer.Option(
            help="What turns the pictures the right way up: none, vertical (they are upside down), horizontal "
            "(mirrored) or both (turned by 180 degrees)."
        ),
    ] = "none",
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
    frameskip_hint: FrameskipHint = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    json: options.Json = False,
) -> None:
    """Make a dataset of recordings in another format, and say what was assumed.

    docs/data.md describes the formats. The same command goes on where it was interrupted.
    """
    from dataclasses import asdict

    from lewm.files import check_output
    from lewm_data.convert.request import Request

    request = Request(
        source,
        out or default_dataset(source),
        camera,
        fps,
        frame_size,
        fit,
        color_order,
        flip,
        resample,
        _part(part),
        env,
        overwrite,
        skip_damaged,
    )
    check_output(request.out, options.WRITABLE)
    report = run_conversion(request)
    hint = hint_of(request.out) if frameskip_hint else None
    if json:
        output.show_json(asdict(report) | ({} if hint is None else {"frameskip_hint": asdict(hint)}))
        return
    output.show(*_summary(report))
    if hint is not None:
        output.show(*said_hint(hint))


def default_dataset(source: Path) -> Path:
    """Where the dataset of a source goes if no place is named: not where that of another source is."""
    import itertools

    from lewm.files import file_name, home
    from lewm_data.convert.marks import is_of

    folder = home() / "datasets"
    name = file_name(source.expanduser().resolve().stem)
    candidates = (folder / (f"{name}.h5" if number == 1 else f"{name}-{number}.h5") for number in itertools.count(1))
    return next(one for one in candidates if not one.exists() or is_of(one, source))


def run_conversion(request: Request) -> Report:
    """Converts, and shows what is assumed and how far it is."""
    from lewm_data.convert.convert import convert as convert_source

    with output.progress_bar(output.count_of("episodes")) as bar:
        task = bar.add_task("convert", total=None)

        def begin(plan: Plan) -> None:
            said = f"{request.source}: {plan.format}, {plan.episodes} episodes"
            output.note(said, *(f"  {one}" for one in plan.assumptions))
            if plan.done:
                output.note(f"goes on after {plan.done} episodes")
            if plan.replaces:
                output.note(f"{request.out} stays as it is until the new one is complete")
            request.out.parent.mkdir(parents=True, exist_ok=True)
            bar.update(task, total=plan.episodes, completed=plan.done)

        return convert_source(request, begin, lambda episodes, share: bar.update(task, completed=episodes + share))


def converted(folder: Path) -> Path:
    """The dataset of a folder in another format, which is converted without options if it was not with any."""
    from lewm.files import check_output
    from lewm_data.convert.begun import OtherError
    from lewm_data.convert.marks import is_all_of
    from lewm_data.convert.request import Request
    from lewm_data.errors import DataError

    request = Request(folder, default_dataset(folder))
    if is_all_of(request.out, folder):
        output.note(f"{folder} was converted before: {request.out}")
        return request.out
    check_output(request.out, "Set LEWM_HOME to a folder that you can write to.")
    try:
        run_conversion(request)
    except OtherError as error:
        again = f'Convert it anew, "lewm data convert {shlex.quote(str(folder))} --overwrite"'
        raise OtherError(error.problem, f"{again}, or give --data {request.out}.") from error
    except DataError as error:
        command = f"lewm data convert {shlex.quote(str(folder))}"
        raise DataError(error.problem, error.remedy.replace("--", f"{command} --", 1)) from error
    return request.out


def _part(text: str | None) -> tuple[int, int]:
    if text is None:
        return 1, 1
    part, slash, parts = text.partition("/")
    if not (slash and part.isdecimal() and parts.isdecimal() and len(text) < 20):
        raise typer.BadParameter(f"expected K/N, for example 2/4, got {text!r:.80}", param_hint="--part")
    return int(part), int(parts)


def _summary(report: Report) -> list[str]:
    said = [f"{report.out}: {report.episodes} episodes, {report.frames} frames, in {report.seconds:.1f} s"]
    if report.footage:
        said[0] += f" ({report.footage / report.seconds:.1f} times as fast as recorded)"
    if report.left_out:
        said.append(f"left out: {len(report.left_out)} episodes that cannot be read")
        said += [f"  {problem}" for _, problem in report.left_out]
    return said
