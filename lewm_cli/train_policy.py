"""`lewm train-policy`: run -> a policy that acts without a search."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Annotated, cast

import typer

from lewm_cli import options, output, results

if TYPE_CHECKING:
    from lewm.config import PolicyKind
    from lewm.heads.command import PolicyReport
    from lewm.heads.policies.learning import PolicySettings


def train_policy(
    kind: Annotated[
        str,
        typer.Option(
            metavar="idm|gcbc|gcivl",
            help="What it learns. idm: the action on the way to a goal so many steps ahead. gcbc: the same, without "
            "being told the steps. gcivl: rather the actions that bring goals nearer, as a learnt value says.",
        ),
    ] = "idm",
    run: options.Run = None,
    data: options.TrainedOn = None,
    longest: Annotated[
        int | None,
        typer.Option(min=1, help="The most steps to a goal; for idm.", show_default="those of the longest episode"),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            min=1, help="At most so many frames of training episodes, but at least one episode.", show_default="all"
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Training steps of the policy.", show_default="the kind's")
    ] = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Learn on a run's frozen latents which action an episode took on its way to a later moment.

    The run keeps one of each kind. "lewm plan --agent KIND" acts with it, and "--warm-start idm" begins a search at it.
    """
    from rich.progress import TaskProgressColumn

    from lewm.heads.command import PolicyRequest, train_policy_of
    from lewm.heads.files import policy_file
    from lewm.runtime import choose_device

    settings = _settings(kind, {"longest": longest, "frames": frames, "steps": steps, "seed": seed})
    run = options.run_or_newest(run)
    chosen = cast("PolicyKind", kind)
    where = choose_device(device)

    def show(report: PolicyReport) -> None:
        if json:
            output.show_json(report.as_dict())
        else:
            output.show(said(report))

    with results.shown_anyway(show), output.progress_bar(TaskProgressColumn()) as bar:
        task = bar.add_task("policy", total=1)
        report, path = train_policy_of(
            PolicyRequest(run, data, chosen, settings),
            where,
            lambda what, share: output.show_stage(bar, task, what, share),
        )
    output.note(f"policy: {run / policy_file(chosen)}")
    output.note(f"report: {path}")
    show(report)


def said(report: PolicyReport) -> str:
    """What a person is told of a policy that was trained."""
    from lewm.held_out import held_out
    from lewm.planning.policy import NAMES

    value = report.value_correlation
    return (
        f"{NAMES[report.kind]}, {held_out('episodes', report.held_out)}: mean squared error {report.error:.3f} of "
        f"normalised actions, of the mean action {report.mean_action:.3f}"
        + ("" if value is None else f"; rank correlation of value and steps to the goal {value:.2f}")
    )


def _settings(kind: str, given: dict[str, int | None]) -> PolicySettings:
    """The settings of a kind, with those that were given.

    Raises:
        LewmError: there is no such kind.
        typer.BadParameter: an option was given that the kind does not use.
    """
    from lewm.errors import unknown
    from lewm.heads.policies import POLICIES

    if kind not in POLICIES:
        raise unknown("--kind", kind, POLICIES)
    settings = POLICIES[kind].settings()
    chosen = {name: value for name, value in given.items() if value is not None}
    for name in set(chosen) - {one.name for one in fields(settings)}:
        raise typer.BadParameter(f"is of no use to the kind {kind}", param_hint=f"--{name}")
    return replace(settings, **chosen)
