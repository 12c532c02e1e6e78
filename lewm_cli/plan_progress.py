"""How `lewm plan` shows that it is at work, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lewm_cli import output, plan_table, results

if TYPE_CHECKING:
    import torch

    from lewm.evaluation.report import EvalReport
    from lewm.evaluation.requests import PlanRequest

PLANNING = "planning"  # what the progress bar calls the work after all else


def evaluate_and_show(request: PlanRequest, device: torch.device, json: bool) -> None:
    """Do what is asked for with a progress bar, then show the report and say where the files are."""
    from rich.progress import TaskProgressColumn

    from lewm.evaluation.command import evaluate_run

    def show(report: EvalReport) -> None:
        if json:
            output.show_json(report.as_dict())
        else:
            output.show(plan_table.table(report))

    columns = (TaskProgressColumn(), output.column(lambda task: task.fields["solved"]))
    with results.shown_anyway(show), output.progress_bar(*columns) as bar:
        task = bar.add_task(PLANNING, total=1, solved="")

        def on_progress(share: float, solved: int) -> None:
            solved_so_far = f"{solved} solved" if solved else ""
            output.show_stage(bar, task, PLANNING, share)
            bar.update(task, solved=solved_so_far)

        def on_compile(compiled: int, total: int) -> None:
            bar.update(task, description=f"compiling kernels, once: {compiled} of {total}")

        def on_trial(share: float) -> None:
            output.show_stage(bar, task, "trying out whether states tell success", share)

        report, path = evaluate_run(request, device, on_progress, on_compile, on_trial)
    if request.save_tasks:
        output.note(f"tasks: {request.save_tasks}")
    if request.clear_results:
        output.note(f"outcomes for CLEAR-LeWM: {request.clear_results}")
    output.note(f"report: {path}")
    if request.video:
        output.note(f"videos: {path.with_suffix('')}")
    show(report)
