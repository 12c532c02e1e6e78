"""`lewm train-policy`: run -> a policy that acts without a search."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from lewm_cli import options, output, results

if TYPE_CHECKING:
    from lewm.heads.command import PolicyReport


def train_policy(
    run: options.Run = None,
    data: options.TrainedOn = None,
    longest: Annotated[
        int | None,
        typer.Option(min=1, help="The most steps to a goal.", show_default="those of the longest episode"),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            min=1, help="At most so many frames of training episodes, but at least one episode.", show_default="all"
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Training steps of the policy.")] = 6000,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Learn on a run's frozen latents which action an episode took on its way to a later moment.

    The policy is kept in the run. "lewm plan --agent idm" acts with it, and "--warm-start idm" begins a search at it.
    """
    from rich.progress import TaskProgressColumn

    from lewm.heads.amortised import PolicySettings
    from lewm.heads.command import PolicyRequest, train_policy_of
    from lewm.heads.files import POLICY
    from lewm.held_out import held_out
    from lewm.runtime import choose_device

    run = options.run_or_newest(run)
    settings = replace(PolicySettings(), longest=longest, frames=frames, steps=steps, seed=seed)
    where = choose_device(device)

    def show(report: PolicyReport) -> None:
        if json:
            output.show_json(report.as_dict())
        else:
            output.show(
                f"{held_out('episodes', report.held_out)}: mean squared error {report.error:.3f} of normalised "
                f"actions, of the mean action {report.mean_action:.3f}"
            )

    with results.shown_anyway(show), output.progress_bar(TaskProgressColumn()) as bar:
        task = bar.add_task("policy", total=1)
        report, path = train_policy_of(
            PolicyRequest(run, data, settings),
            where,
            lambda what, share: output.show_stage(bar, task, what, share),
        )
    output.note(f"policy: {run / POLICY}")
    output.note(f"report: {path}")
    show(report)
