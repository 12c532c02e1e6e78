"""`lewm surprise`: run and video -> surprise of every frame, flagged events, pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lewm_cli import options, output, results

if TYPE_CHECKING:
    import torch
    from rich.table import Table

    from lewm.surprise.command import SurpriseReport
    from lewm.surprise.suite import SuiteReport


def surprise(
    video: Annotated[
        str | None,
        typer.Argument(help="mp4, gif, webm, a folder of images, or an episode of a dataset: data.h5#17."),
    ] = None,
    run: options.Run = None,
    fps: Annotated[
        float | None,
        typer.Option(help="Read the video at this rate, one frame an environment step.", show_default="every frame"),
    ] = None,
    frameskip: Annotated[int | None, typer.Option(min=1, help="Frames a model step.", show_default="the run's")] = None,
    actions: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|none",
            help="csv, npy or h5: the actions between the frames.",
            show_default="the episode's own",
        ),
    ] = None,
    calibrate: Annotated[
        Path | None, typer.Option(help="Dataset of clean episodes.", show_default="the run's held-out ones")
    ] = None,
    alpha: Annotated[float, typer.Option(help="Share of clean frames that are flagged.")] = 0.01,
    out_video: Annotated[Path | None, typer.Option(help="Write an annotated mp4.")] = None,
    suite: Annotated[
        str | None,
        typer.Option(
            metavar="ENV",
            help="Instead of a video: perturb episodes of the run's environment. " + options.ANY_ENV,
        ),
    ] = None,
    episodes: Annotated[int, typer.Option(min=2, help="Episodes of the suite.")] = 100,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Find what the model did not expect in a video: every frame gets a p-value, and flagged frames become events."""
    if (video is None) == (suite is None):
        raise typer.BadParameter("give a video, or --suite ENV", param_hint="VIDEO")
    from lewm.runtime import choose_device

    run = options.run_or_newest(run)
    where = choose_device(device)
    if suite is not None:
        for name, value in (
            ("--fps", fps),
            ("--frameskip", frameskip),
            ("--actions", actions),
            ("--out-video", out_video),
        ):
            if value is not None:
                raise typer.BadParameter("belongs to a video, not to --suite", param_hint=name)
        _suite(run, suite, episodes, calibrate, alpha, seed, where, json)
        return
    from lewm.surprise.command import SurpriseRequest, watch_video

    assert video is not None
    request = SurpriseRequest(run, video, fps, frameskip, actions, calibrate, alpha, seed, out_video)

    def show(report: SurpriseReport) -> None:
        if json:
            output.show_json(report.as_dict())
            return
        if report.events:
            output.show(_events(report))
        output.show(*_summary(report))

    with results.shown_anyway(show), output.progress_bar(output.count_of("frames")) as bar:
        task = bar.add_task("", total=None)

        def on_progress(what: str, done: int, total: int | None) -> None:
            output.show_stage(bar, task, what, done, total)

        report, path = watch_video(request, where, on_progress)
    output.note(f"report: {path}; a line a frame and a picture: {path.with_suffix('')}")
    if out_video:
        output.note(f"annotated video: {out_video}")
    show(report)


def _suite(
    run: Path,
    env: str,
    episodes: int,
    calibrate: Path | None,
    alpha: float,
    seed: int,
    device: torch.device,
    json: bool,
) -> None:
    from rich.progress import TaskProgressColumn

    from lewm.surprise.suite import SuiteRequest, run_suite

    def show(report: SuiteReport) -> None:
        if json:
            output.show_json(report.as_dict())
            return
        for actions in ("known", "unknown"):
            output.show(_outcomes(report, actions))

    with results.shown_anyway(show), output.progress_bar(TaskProgressColumn()) as bar:
        task = bar.add_task("", total=1)
        report, path = run_suite(
            SuiteRequest(run, env, episodes, calibrate, alpha, seed),
            device,
            lambda what, share: output.show_stage(bar, task, what, share),
        )
        bar.update(task, completed=1)
    output.note(f"report: {path}; a picture and a video of each perturbation: {path.with_suffix('')}")
    show(report)


def _events(report: SurpriseReport) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    clock = " s" if report.fps else ""
    table = Table(box=SIMPLE_HEAD)
    for name in ("event", "begin", "peak", "end", "surprise", "p"):
        table.add_column(name, justify="right")
    for number, event in enumerate(report.events, 1):
        moments = (event.begin_time, event.peak_time, event.end_time)
        times = (f"{moment:.2f}{clock}" if clock else f"{moment:.0f}" for moment in moments)
        table.add_row(str(number), *times, f"{event.surprise:.4g}", f"{event.p_value:.1g}")
    return table


def _summary(report: SurpriseReport) -> list[str]:
    basis = report.calibration
    most = basis["false_alarms_at_most"]
    alarms = "not known, because the model's training may have seen these episodes"
    if most is not None:
        alarms = f"at most {most:.1%} of the frames of a clean video, on average over videos like these episodes"
    events = {0: "no event", 1: "one event"}.get(len(report.events), f"{len(report.events)} events")
    return [
        f"{report.source}: {events} in {report.frames} frames ({report.frames / report.seconds:.0f} a second)",
        f"actions {report.actions}; {report.frameskip} frames a model step",
        f"{report.flagged} of {report.scored} scored frames flagged at alpha {report.alpha:g}; a clean video would "
        f"have about {report.alpha * report.scored:.1f}",
        f"calibrated on {basis['clean_frames']} frames of {basis['clean_episodes']} clean episodes: {basis['data']}",
        f"false alarms: {alarms}",
    ]


def _outcomes(report: SuiteReport, actions: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    title = f"{report.env}, {report.episodes} episodes, actions {actions}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("perturbation", overflow="fold")
    for name in ("surprise", "untouched", "p", "effect", "AUROC", "detected", "delay"):
        table.add_column(name, justify="right", overflow="fold")
    for one in report.outcomes:
        if one.actions == actions:
            table.add_row(
                one.perturbation,
                f"{one.surprise:.3g}",
                f"{one.untouched:.3g}",
                "-" if one.p_value is None else f"{one.p_value:.0e}",
                "-" if one.effect_size is None else f"{one.effect_size:.2f}",
                f"{one.auroc:.3f}",
                f"{one.detected:.0%}",
                "-" if one.delay is None else f"{one.delay:.0f}",
            )
    (alarms,) = [one for one in report.false_alarms if one.actions == actions]
    low, high = alarms.interval_95
    table.caption = (
        f"False alarms: {alarms.flagged} of {alarms.frames} untouched frames = {alarms.rate:.2%}\n"
        f"({low:.2%} - {high:.2%}), alpha {report.alpha:g}. p: paired t-test; effect: Cohen's d of the pairs;\n"
        "detected: flagged within 20 frames; delay: frames to the first flag."
    )
    table.caption_justify = "left"
    return table
