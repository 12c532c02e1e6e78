"""The table that `lewm plan` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from lewm.evaluation.report import EvalReport, Success


def table(report: EvalReport) -> Table:
    """Success of the agent and of random actions, and what its plans, or else its actions, took."""
    from rich.table import Table

    from lewm.evaluation.from_env import PICTURE
    from lewm.evaluation.report import WITHOUT_PLANS, agent_name

    goals = f"goals {report.goal_offset} steps ahead"
    if report.goal_offset is None:
        goals = "the goal in the picture" if report.protocol == PICTURE else "the environment's own goals"
    title = f"{goals}, {report.budget} steps allowed\nprotocol {report.protocol}"
    measures = ("success", "95 % interval")
    if report.latent_distance is not None:
        measures = ("distance at the start", "at the end")
    shown = Table("agent", "solved", *measures, title=title, title_justify="left")
    rows: list[tuple[str, EvalReport | Success]] = [(agent_name(report.planner), report)]
    if report.random is not None:
        rows.append((WITHOUT_PLANS["random"], report.random))
    for name, result in rows:
        if result.latent_distance is not None:
            distances = (f"{result.latent_distance.start:.3g}", f"{result.latent_distance.end:.3g}")
            shown.add_row(name, "not known", *distances)
        elif result.interval_95 is not None:
            low, high = result.interval_95
            solved = f"{result.successes} of {result.episodes}"
            shown.add_row(name, solved, f"{result.success_rate:.1%}", f"{low:.1%} - {high:.1%}")
    planner = report.planner
    lines = [f"{report.seconds_per_plan:.2g} s an action"]
    if "precision" in planner:
        lines = [f"{report.seconds_per_plan:.2g} s a plan in {planner['precision']}, {planner['precision_reason']}"]
    if report.seconds_preparing:
        lines.append(f"{report.seconds_preparing:.2g} s beside the plans to compile kernels and to capture CUDA graphs")
    lines.append(f"Success is {report.success}")
    if report.latent_distance is None:
        lines.append(f"{report.discarded_solved} starts discarded as solved already")
    else:
        lines += [
            f"Distances to the goal are in latent space, mean over {report.episodes} tasks;",
            "at 0 the model sees no difference.",
        ]
    if report.discarded_ended:
        lines.append(f"{report.discarded_ended} draws discarded because the episode ended before the goal")
    shown.caption, shown.caption_justify = "\n".join(lines), "left"
    return shown
