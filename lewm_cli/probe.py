"""`lewm probe`: run, dataset -> which physical quantities the latent space holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lewm_cli import options, output, results

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from lewm.measures.intervals import Estimate
    from lewm.probing.report import ProbeReport


def probe(
    run: options.Run = None,
    data: Annotated[Path | None, typer.Option(help="Dataset to probe on.", show_default="the run's own")] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN|NAME=EXPR",
            help="A quantity: a column, or a name for some of its numbers, block=state[2:4]; add :angle to one number "
            "in radians, :quaternion to four. Repeatable.",
            show_default="the world's own, or every column",
        ),
    ] = None,
    episodes: Annotated[
        int,
        typer.Option(
            min=1,
            help="The most episodes to use: of those that training held out, or, where these are not known, of all.",
        ),
    ] = 300,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    tsne: Annotated[bool, typer.Option("--tsne", help="Draw a t-SNE map too.")] = False,
    json: options.Json = False,
) -> None:
    """Read physical quantities from the frozen latents, linearly and by an MLP, and measure the latent space.

    A random encoder and the pixels' principal components are probed too: the difference is what training gave.
    """
    targets = _targets(target or [])
    from rich.progress import TaskProgressColumn

    from lewm.probing.command import ProbeRequest, probe_run
    from lewm.runtime import choose_device

    run = options.run_or_newest(run)
    request = ProbeRequest(run=run, data=data, targets=targets, episodes=episodes, seed=seed, tsne=tsne)
    where = choose_device(device)

    def show(report: ProbeReport) -> None:
        if json:
            output.show_json(report.as_dict())
        else:
            output.show(*_scores(report), *_verdicts(report), "", *_spaces(report))

    with results.shown_anyway(show), output.progress_bar(TaskProgressColumn()) as bar:
        task = bar.add_task("", total=1)
        report, path = probe_run(
            request, where, lambda share, doing: bar.update(task, completed=share, description=doing)
        )
    output.note(f"report: {path}")
    output.note(f"pictures: {path.with_suffix('')}")
    show(report)


def _targets(pairs: list[str]) -> dict[str, str]:
    targets: dict[str, str] = {}
    for pair in pairs:
        name, equals, expression = (part.strip() for part in pair.partition("="))
        expression = expression if equals else name
        if not (name and expression):
            raise typer.BadParameter(f"expected COLUMN or NAME=EXPR, got {pair!r}", param_hint="--target")
        if name in targets:
            raise typer.BadParameter(f"{name!r} is given twice", param_hint="--target")
        targets[name] = expression
    return targets


def _scores(report: ProbeReport) -> Iterator[str | Text | Table]:
    """A table for each property: a name may be longer than a table can be wide, and stands above it."""
    of = "held out of training" if report.held_out else "that training may have seen"
    yield f"episodes {of}: " + ", ".join(f"{n} {part}" for part, n in report.episodes.items())
    for name in dict.fromkeys(one.property for one in report.probed):
        table = _table()
        table.padding = (0, 1, 0, 0)
        for header in ("", "probe", "MSE ↓", "95 %", "r ↑", "95 %", "R²", "95 %"):
            table.add_column(header, justify="right" if header[-1:] in ("↓", "↑", "²") else "left", overflow="fold")
        for one in report.probed:
            if one.property == name:
                features = one.features.removesuffix(" encoder")
                for probe, scores in (("linear", one.linear), ("MLP", one.mlp)):
                    table.add_row(features, probe, *_cells(scores.mse, 4), *_cells(scores.r, 3), *_cells(scores.r2, 3))
        yield from ("", output.styled(name, "bold"), table)
    mlp = report.settings["mlp"]
    layers = "-".join(str(width) for width in mlp["hidden"])
    yield from (
        "",
        "Read from the trained and a random encoder, and from principal components of the",
        "pixels; targets z-scored; 95 %: interval over test episodes. Linear: ridge,",
        f"strength by validation. MLP: {layers} {mlp['activation']}, {mlp['optimizer']} at {mlp['learning_rate']:g}, "
        f"{mlp['steps']} steps of",
        f"{mlp['batch_size']} frames, the step with the least validation error kept.",
        "",
    )


def _cells(estimate: Estimate, decimals: int) -> tuple[str, Text]:
    low, high = (_number(end, decimals) for end in estimate.interval_95)
    return _number(estimate.value, decimals), output.styled(f"{low}–{high}", "dim")


def _number(value: float, decimals: int) -> str:
    """A number such as .052, -.104 or 1.89: without the zero that most would begin with, so that widths are equal."""
    text = f"{value:.{decimals}f}"
    return text.replace("0.", ".", 1) if abs(float(text)) < 1 else text[:-1]


def _verdicts(report: ProbeReport) -> list[str]:
    """Sentences that say for each property and probe what training gave."""
    words = {"better": "beats", "worse": "does worse than", "no difference shown": "is not shown to differ from"}
    said: dict[str, dict[str, list[str]]] = {}
    for one in report.comparisons:
        verdicts = said.setdefault(f"{one.property}, {one.probe.replace('mlp', 'MLP')}", {})
        verdicts.setdefault(words[one.verdict], []).append(f"the {one.baseline}")
    clauses = {
        what: ", ".join(f"{verb} {' and '.join(rivals)}" for verb, rivals in verdicts.items())
        for what, verdicts in said.items()
    }
    return [f"{what}: training {clause}." for what, clause in clauses.items()]


def _spaces(report: ProbeReport) -> Iterator[str | Text | Table]:
    table = _table()
    for name in ("features", "effective rank", "off normal", "straightness", "distance ρ", "near ρ"):
        table.add_column(name, justify="left" if name == "features" else "right", overflow="fold")
    for space in report.spaces:
        optional = (space.straightness, space.distance_correlation, space.near_correlation)
        table.add_row(
            space.features,
            f"{space.effective_rank:.1f} of {len(space.normality)}",
            f"{sum(space.normality) / len(space.normality):.2f}",
            *("" if value is None else f"{value:.2f}" for value in optional),
        )
    yield from (
        "shape of the space",
        table,
        "",
        "off normal: Kolmogorov-Smirnov distance to the normal distribution, mean over",
        "dimensions; straightness: mean cosine of consecutive latent velocities;",
        "distance ρ, near ρ: rank correlation of latent distance and shortest path in the",
        "world, over all pairs of frames and over the nearer half.",
    )


def _table() -> Table:
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)  # so that it fits into 80 columns
