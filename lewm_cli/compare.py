"""`lewm compare`: specification -> tables of methods, with their uncertainty."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lewm_cli import compare_table, options, output

DOING = 40  # characters of what is done now, beside the bar

if TYPE_CHECKING:
    import torch

    from lewm.compare.command import CompareRequest
    from lewm.compare.records import Place
    from lewm.compare.result import Comparison
    from lewm.compare.spec import Spec
    from lewm.compare.work import Progress, States


def compare(
    spec: Annotated[
        str, typer.Argument(metavar="SPEC", help="ablation, baselines, planners, or a specification of your own.toml.")
    ],
    world: Annotated[
        list[str] | None,
        typer.Option(help="A world of the specification; repeatable.", show_default="those that are not optional"),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="0,1,...", help="Training seeds.", show_default="the specification's")
    ] = None,
    only: Annotated[
        str | None, typer.Option(metavar="GROUP", help="Title of the one group to fill.", show_default="all")
    ] = None,
    tasks: Annotated[
        int | None, typer.Option(min=1, help="Tasks of each seed.", show_default="the specification's")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes of this machine that share the work.")] = 1,
    index: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Number of this process among those, also of other machines, that share $LEWM_HOME and the work.",
            show_default="as torchrun or an array of SLURM says",
        ),
    ] = None,
    of: Annotated[int | None, typer.Option(min=1, help="How many processes these are.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the result.", show_default="$LEWM_HOME/compare/results/SPEC")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what is there and what is to be done, and do nothing.")
    ] = False,
    show: Annotated[
        bool, typer.Option("--show", help="Write the result of what is there, and do nothing else.")
    ] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Try again what failed before.")] = False,
    device: options.Device = "auto",
    single_file: Annotated[
        bool, typer.Option("--single-file", help="Write the page as one file with everything inside.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Train and measure what a specification lists, and make one page of tables of it.

    Nothing is done twice: what is there already, of this specification or of another, is used. After an interruption
    the same command goes on: a training from its last checkpoint, other work with what was under way begun anew.
    Everything is kept in $LEWM_HOME/compare; a part of a specification has a result of its own there. What fails is
    listed with its reason, the rest goes on, and the exit status is 0: see --dry-run and --retry.
    """
    if dry_run and show:
        raise typer.BadParameter("--dry-run and --show exclude each other")
    if jobs > 1 and (index is not None or of is not None):
        raise typer.BadParameter("give each process --index and --of, or one command --jobs")

    from lewm.compare import command
    from lewm.compare.processes import share_of
    from lewm.compare.records import Place
    from lewm.compare.spec import read_spec
    from lewm.runtime import choose_device

    own_name, content = read_spec(spec)
    asked = _changed(content, seeds, tasks)
    name = command.name_of(own_name, content, asked, tuple(world or ()), only)
    options_of = {"--world": world, "--seeds": seeds, "--only": only, "--tasks": tasks, "--out": out}
    options_of |= {"--jobs": jobs if jobs > 1 else None, "--device": device if device != "auto" else None}
    request = command.CompareRequest(
        name=name,
        spec=asked,
        worlds=tuple(world or ()),
        only=only,
        out=out,
        share=share_of(index, of),
        retry=retry,
        single_file=single_file,
        call=("compare", spec, *_words(options_of), *(["--single-file"] if single_file else [])),
    )
    place = Place.default()
    if dry_run:
        _list(command.listed(request, place, choose_device(device)), json)
        return
    if show:
        _show(command.show(request, place), request.folder(place), single_file, json)
        return
    comparison = _work(request, place, choose_device(device), jobs)
    if comparison is None:
        output.note("another process writes the result")
    else:
        _show(comparison, request.folder(place), single_file, json)


def _work(request: CompareRequest, place: Place, device: torch.device, jobs: int) -> Comparison | None:
    """Does the work under a bar, with so many processes; None where another process writes the result."""
    from lewm.compare import command
    from lewm.compare.children import end_with_parent, run_children
    from lewm.runtime import one_of

    end_with_parent()
    with output.progress_bar(output.count_of("jobs")) as bar:
        task = bar.add_task(request.name, total=None)

        def on_progress(progress: Progress) -> None:
            within = progress.share or 0.0
            failed = f", {progress.failed} failed" if progress.failed else ""
            doing = "; ".join(progress.doing) or request.name
            bar.update(
                task, completed=progress.done + within, total=progress.total, description=f"{doing[:DOING]}{failed}"
            )

        def others(states: States) -> None:
            words = [word for word in sys.argv[1:] if word != "--retry"]  # this process has seen to it
            again = [sys.executable, "-m", "lewm_cli", *words, "--jobs", "1", "--of", str(jobs), "--index"]
            run_children(
                [[*again, str(number)] for number in range(jobs)],
                place.root / "logs" / request.name,
                states,
                on_progress,
            )

        where = one_of(device, request.share.index) if request.share.of > 1 else device
        try:
            return command.compare(request, where, on_progress, others if jobs > 1 else None)
        except KeyboardInterrupt as error:
            error.args = ()  # a training tells how to go on with `lewm train`, and here the same command goes on
            raise


def _words(values: Mapping[str, object]) -> list[str]:
    """Options with their values, as they are typed."""
    found: list[str] = []
    for option, value in values.items():
        for one in value if isinstance(value, list) else [value]:
            found += [] if one is None else [option, str(one)]
    return found


def _changed(spec: Spec, seeds: str | None, tasks: int | None) -> Spec:
    """The specification with the options that were given."""
    from lewm.compare.spec import Spec
    from lewm.config import validate

    values = spec.model_dump(mode="json", exclude_unset=True)
    if seeds is not None:
        values["seeds"] = [int(one) if one.strip().isdecimal() else one for one in seeds.split(",")]
    if tasks is not None:
        values["tasks"] = values.get("tasks", {}) | {"count": tasks}
    remedy = "Give --seeds different whole numbers with commas between them, for example 0,1,2."
    return validate(Spec, values, "the options", remedy)


def _list(jobs: list[tuple[str, str]], json: bool) -> None:
    if json:
        output.show_json({"jobs": [{"job": title, "state": state} for title, state in jobs]})
        return
    for title, state in jobs:
        output.show(f"{state:>6}  {title}")
    open_ = sum(state == "to do" for _, state in jobs)
    output.show(f"{len(jobs) - open_} of {len(jobs)} jobs are done or have failed; {open_} are to do")


def _show(comparison: Comparison, folder: Path, single_file: bool, json: bool) -> None:
    from lewm.compare.page import page_name
    from lewm.compare.result import JSON

    if json:
        output.show_json(comparison.as_dict())
    else:
        output.show(*compare_table.tables(comparison))
    output.note(f"result: {folder / JSON}", f"page: {folder / page_name(comparison.name, single_file)}")
