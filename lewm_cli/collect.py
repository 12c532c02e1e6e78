"""`lewm collect`: environment -> HDF5 dataset."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lewm_cli import options, output


def collect(
    context: typer.Context,
    env: Annotated[str, typer.Option(help=options.ANY_ENV)] = "two-room",
    episodes: Annotated[int, typer.Option(min=1, help="Episodes in the finished file.")] = 1000,
    policy: Annotated[
        str | None,
        typer.Option(
            help="Who acts: expert, random, smooth, or a mixture with shares: expert:0.7,random:0.3. "
            "package.module:function imports and runs the module.",
            show_default="the environment's",
        ),
    ] = None,
    noise: Annotated[
        float | None,
        typer.Option(min=0, help="Standard deviation added to the expert's actions.", show_default="the environment's"),
    ] = None,
    repeat: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Probability that an action is taken again.", show_default="the environment's"),
    ] = None,
    vary: Annotated[
        str,
        typer.Option(
            help='Factors drawn for each episode, separated by commas, or all; see "lewm envs".', show_default="none"
        ),
    ] = "",
    max_steps: Annotated[
        int | None,
        typer.Option(
            min=1, help="Steps until an episode is cut, for goals far away.", show_default="the environment's"
        ),
    ] = None,
    frame_size: Annotated[int, typer.Option(min=8, help="Side of a frame in pixels.")] = 64,
    detail: options.Detail = None,
    fit: Annotated[
        str | None,
        typer.Option(
            help="How pictures of a Gymnasium environment that are not square become so: crop, letterbox or stretch.",
            show_default="stretch",
        ),
    ] = None,
    seed: options.Seed = 0,
    workers: Annotated[
        str, typer.Option(help="Processes: auto (one a core where that helps), a number, or 0 for this process alone.")
    ] = "auto",
    num_envs: Annotated[
        int | None,
        typer.Option(min=1, help="Environments run together in this process.", show_default="what is fast"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File to write.", show_default="$LEWM_HOME/datasets/ENV.h5")] = None,
    append: Annotated[bool, typer.Option("--append", help="Continue a file until it has --episodes.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    json: options.Json = False,
) -> None:
    """Record episodes of an environment. An interruption keeps every finished episode, and --append continues.

    The file depends neither on --workers nor on --num-envs.
    """
    if append and overwrite:
        raise typer.BadParameter("--append and --overwrite exclude each other")
    processes = options.auto_or_number(workers, 0, "--workers")
    if num_envs is not None and processes:
        raise typer.BadParameter("a worker has one environment: give it with --workers 0", param_hint="--num-envs")
    from lewm.files import check_output, file_name, home, newest_dataset
    from lewm.provenance import commit
    from lewm_data.collection.collect import CollectProgress, collect
    from lewm_data.envs.registry import world
    from lewm_data.temporary import claimed
    from lewm_data.video.fit import in_words

    place = world(env).drawn(detail).fitted(fit)
    if place.picture is not None:
        output.note(in_words(place.picture, (frame_size, frame_size), place.fit or ""))
    named = out is not None
    if out is None:
        default = home() / "datasets" / f"{file_name(place.name)}.h5"
        check_output(default, options.WRITABLE)
        default.parent.mkdir(parents=True, exist_ok=True)
        if append and default.exists():
            out = newest_dataset(place.name)
        else:
            out = default if append or overwrite else context.with_resource(claimed(default))
        output.note(str(out))
        if out != default and not append:
            output.note(f"{default} is taken: --append goes on with the newest of that world")
    check_output(out, options.WRITABLE)
    out.parent.mkdir(parents=True, exist_ok=True)
    with output.progress_bar(output.count_of("episodes"), output.column(lambda task: task.fields["rate"])) as bar:
        task = bar.add_task(place.name, total=episodes, rate="")

        def on_progress(progress: CollectProgress) -> None:
            rate = f"{progress.frames_per_second:,.0f} frames/s"
            bar.update(task, completed=progress.episodes, rate=rate)

        try:
            report = collect(
                place,
                out,
                episodes,
                policy=policy or place.default_policy,
                noise=place.default_noise if noise is None else noise,
                repeat=repeat,
                vary=vary,
                max_steps=max_steps,
                frame_size=frame_size,
                seed=seed,
                num_envs=num_envs,
                workers=processes,
                mode="append" if append else "overwrite" if overwrite else "create",
                commit=commit(),
                on_progress=on_progress,
            )
        except KeyboardInterrupt as error:
            written = bar.tasks[task].completed > 0
            raise type(error)(_kept(out, episodes, overwrite, written, named)) from None
    if json:
        output.show_json(asdict(report))
    else:
        size = Path(report.path).stat().st_size / 1e6
        output.show(
            f"{report.path}: {report.episodes} episodes, {report.frames} frames, {size:.0f} MB; "
            f"{report.new_frames} new in {report.seconds:.1f} s"
        )


def _kept(out: Path, episodes: int, overwrite: bool, written: bool, named: bool) -> str:
    """After Ctrl-C, what is kept and the command that goes on.

    Args:
        out: The file.
        episodes: The number of episodes that it was to have.
        overwrite: Whether it replaces another file, which it does when the first episode is `written`.
        written: Whether this command has finished an episode.
        named: Whether the command that was given names the file.
    """
    from lewm_data.store.dataset import Dataset

    if not out.exists() or (overwrite and not written):
        return "interrupted before an episode was finished: nothing new is kept\nGive the same command again."
    with Dataset.open(out) as dataset:
        kept = dataset.num_episodes
    given = [word for word in sys.argv[1:] if word not in ("--overwrite", "--append")]
    command = shlex.join(["lewm", *given, "--append", *([] if named else ["--out", str(out)])])
    return f"interrupted: {kept} of {episodes} episodes are in {out}\nTo go on: {command}"
