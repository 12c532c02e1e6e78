"""`lewm plan`: run -> success rate with its interval, timings, videos."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lewm_cli import options, output

if TYPE_CHECKING:
    from rich.table import Table

    from lewm.evaluation.run import EvalReport


def plan(
    run: options.Run = None,
    horizon: Annotated[int | None, typer.Option(min=1, help="Blocks planned ahead.", show_default="the run's")] = None,
    episodes: Annotated[int, typer.Option(min=1, help="Tasks.")] = 200,
    protocol: Annotated[
        str,
        typer.Option(help="held-out: unseen episodes, unsolved starts. paper: any episode and start, as published."),
    ] = "held-out",
    samples: Annotated[
        int | None, typer.Option(min=2, help="Candidates an iteration.", show_default="the run's")
    ] = None,
    elites: Annotated[int | None, typer.Option(min=2, help="Candidates kept.", show_default="the run's")] = None,
    iterations: Annotated[
        int | None, typer.Option(min=1, help="CEM iterations a plan.", show_default="the run's")
    ] = None,
    execute: Annotated[
        int | None, typer.Option(min=1, help="Blocks executed before replanning.", show_default="all of the plan")
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            metavar="fp32|tf32|bf16", help="Of the predictor's matrix products; tf32 on CUDA.", show_default="the run's"
        ),
    ] = None,
    goal_offset: Annotated[
        int | None, typer.Option(min=1, help="Environment steps to the goal in its episode.", show_default="the run's")
    ] = None,
    budget: Annotated[
        int | None, typer.Option(min=1, help="Environment steps allowed.", show_default="the run's")
    ] = None,
    seed: options.Seed = 0,
    batch: Annotated[
        str, typer.Option(help="Episodes that run together: auto (as memory allows) or a number.")
    ] = "auto",
    data: Annotated[Path | None, typer.Option(help="Dataset of the tasks.", show_default="the run's own")] = None,
    device: options.Device = "auto",
    video: Annotated[str | None, typer.Option(metavar="mp4|gif", help="Film every episode, in this format.")] = None,
    imagine: Annotated[
        bool, typer.Option("--imagine", help='With --video: show what the plans expect. Needs "lewm decode" first.')
    ] = False,
    json: options.Json = False,
) -> None:
    """Plan in latent space towards goals the model has not seen, and count how often it gets there."""
    if batch != "auto" and not (batch.isdecimal() and int(batch) > 0):
        raise typer.BadParameter(f"expected auto or a positive number, got {batch!r}", param_hint="--batch")
    if video not in (None, "mp4", "gif"):
        raise typer.BadParameter(f"expected mp4 or gif, got {video!r}", param_hint="--video")
    if imagine and video is None:
        raise typer.BadParameter("shows its pictures in the films: give --video too", param_hint="--imagine")
    from rich.progress import TaskProgressColumn, TextColumn

    from lewm.checkpoints.run import read_config
    from lewm.config import Evaluation, Planning, validate
    from lewm.evaluation.evaluate import PlanRequest, evaluate_run
    from lewm.files import newest_run
    from lewm.runtime import choose_device

    if run is None:
        run = newest_run()
        output.note(f"newest run: {run}")
    config, _ = read_config(run)
    planning = {
        "samples": samples,
        "elites": elites,
        "iterations": iterations,
        "horizon": horizon,
        "execute": execute,
        "precision": precision,
    }
    evaluation = {"goal_offset": goal_offset, "budget": budget}
    request = PlanRequest(
        run=run,
        data=data,
        planning=validate(Planning, config.planning.model_dump() | _given(planning), "the options"),
        evaluation=validate(Evaluation, config.evaluation.model_dump() | _given(evaluation), "the options"),
        protocol=protocol,
        episodes=episodes,
        seed=seed,
        batch=None if batch == "auto" else int(batch),
        video=video,
        imagine=imagine,
    )
    where = choose_device(device)
    with output.progress_bar(TaskProgressColumn(), TextColumn("{task.fields[solved]}")) as bar:
        task = bar.add_task(f"{episodes} episodes", total=1, solved="")

        def on_progress(share: float, solved: int) -> None:
            bar.update(task, completed=share, solved=f"{solved} solved" if solved else "")

        report, path = evaluate_run(request, where, on_progress)
    output.note(f"report: {path}")
    if video:
        output.note(f"videos: {path.with_suffix('')}")
    if json:
        output.show_json(report.as_dict())
    else:
        output.show(_table(report))


def _given(values: Mapping[str, int | str | None]) -> dict[str, int | str]:
    return {key: value for key, value in values.items() if value is not None}


def _table(report: EvalReport) -> Table:
    from rich.table import Table

    title = f"goals {report.goal_offset} steps ahead, {report.budget} steps allowed, protocol {report.protocol}"
    table = Table("agent", "solved", "success", "95 % interval", title=title, title_justify="left")
    for name, result in (("LeWM + CEM", report), ("random actions", report.random)):
        low, high = result.interval_95
        table.add_row(
            name, f"{result.successes} of {result.episodes}", f"{result.success_rate:.1%}", f"{low:.1%} - {high:.1%}"
        )
    table.caption = (
        f"{report.seconds_per_plan:.2g} s a plan in {report.planner['precision']}; "
        f"{report.discarded_solved} starts discarded as solved already"
    )
    table.caption_justify = "left"
    return table
