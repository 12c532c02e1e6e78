"""`lewm train`: dataset -> run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lewm_cli import options, output

if TYPE_CHECKING:
    from rich.table import Table

    from lewm.config import Config
    from lewm.training.loop import Progress


def train(
    data: options.Data = None,
    recipe: Annotated[str, typer.Option(help="Base configuration: small (CPU) or paper (GPU).")] = "small",
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps.", show_default="the recipe's")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the data, instead of --steps.")] = None,
    lambda_: Annotated[
        float | None, typer.Option("--lambda", min=0, help="Weight of SIGReg.", show_default="the recipe's")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=2, help="Clips a step.", show_default="the recipe's")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of everything random.", show_default="the recipe's")] = None,
    device: options.Device = "auto",
    precision: Annotated[str | None, typer.Option(help="fp32 or bf16.", show_default="the recipe's")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a run, bit-exactly on a CPU.")] = False,
    out: Annotated[Path | None, typer.Option(help="Run directory.", show_default="$LEWM_HOME/runs/ENV-RECIPE")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any key of the configuration; repeatable.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML or JSON file with any part of the configuration.")] = None,
    json: options.Json = False,
) -> None:
    """Train a world model on a dataset: next-embedding prediction plus SIGReg.

    The configuration is the recipe, then --config, then --set, then the other options; the later wins.
    """
    if steps is not None and epochs is not None:
        raise typer.BadParameter("--steps and --epochs exclude each other")
    flags = {
        "training.steps": steps,
        "training.epochs": epochs,
        "objective.lambda": lambda_,
        "training.batch_size": batch_size,
        "training.seed": seed,
        "training.precision": precision,
    }
    flags = {key: value for key, value in flags.items() if value is not None}
    assignments = _assignments(set_ or []) | flags
    if resume and (assignments or config):
        raise typer.BadParameter("--resume continues with the run's own configuration: give it no other setting")

    from lewm.checkpoints.run import read_config
    from lewm.files import home, newest_run, unused
    from lewm.runtime import choose_device
    from lewm.training.loop import train as train_model
    from lewm.training.plot import plot_training

    if resume:
        out = out or newest_run()
        settings, trained_on = read_config(out)
        data = data or Path(trained_on.path)
    else:
        data = _dataset(data)
        settings = _configure(recipe, data, config, assignments)
        out = out or unused(home() / "runs" / f"{settings.env}-{settings.recipe}")
    where = choose_device(device)
    output.note(f"{data} -> {out} on {where}")
    display = _Display(settings)
    with display.live:
        report = train_model(settings, data, out, where, resume=resume, on_progress=display.update)
    try:
        output.note(f"picture: {plot_training(out)}")
    except ValueError as error:
        output.note(str(error))
    result = {
        "run": str(report.run),
        "steps": report.steps,
        "seconds": report.seconds,
        "health": report.health.as_dict(),
    }
    if json:
        output.show_json(result)
    else:
        output.show(f"{report.run}: {report.steps} steps in {report.seconds:.0f} s")


def _dataset(data: Path | None) -> Path:
    from lewm.files import newest_dataset

    if data is not None:
        return data
    newest = newest_dataset()
    output.note(f"newest dataset: {newest}")
    return newest


def _configure(recipe: str, data: Path, file: Path | None, assignments: dict[str, Any]) -> Config:
    """The recipe for the dataset's environment, overridden."""
    from lewm.config import resolve
    from lewm.recipes import recipe as named
    from lewm_data.store import Dataset

    with Dataset.open(data) as dataset:
        env = str(dataset.attributes.get("env", "two-room"))
    return resolve(named(recipe, env), file, assignments)


def _assignments(pairs: list[str]) -> dict[str, Any]:
    split = [pair.partition("=") for pair in pairs]
    wrong = [pair for pair, (_, equals, _) in zip(pairs, split, strict=True) if not equals]
    if wrong:
        raise typer.BadParameter(f"expected KEY=VALUE, got {wrong[0]!r}", param_hint="--set")
    return {key.strip(): value.strip() for key, _, value in split}


class _Display:
    """A live bar with the latest metrics under it; plain lines where stderr is not a terminal."""

    def __init__(self, settings: Config) -> None:
        from rich.console import Group
        from rich.live import Live

        self.bar = output.progress_bar(output.count_of("steps"))
        self.task = self.bar.add_task("train", total=settings.training.steps)
        self.latest: dict[str, Any] = {}
        self.live = Live(console=output.stderr, get_renderable=lambda: Group(self.bar, self._table()))

    def update(self, progress: Progress) -> None:
        self.latest |= progress.metrics
        self.bar.update(self.task, completed=progress.step, total=progress.steps)
        if "health" in progress.metrics and not output.stderr.is_terminal:
            row = ", ".join(f"{name} {value}" for name, value in self._values())
            output.note(f"step {progress.step}/{progress.steps}: {row}")

    def _values(self) -> list[tuple[str, str]]:
        latest, health = self.latest, self.latest.get("health")
        if not latest:
            return []
        values = [
            ("loss", f"{latest['loss']:.4f}"),
            ("prediction", f"{latest['prediction']:.4f}"),
            ("SIGReg", f"{latest['sigreg']:.3f}"),
            ("gradient norm", f"{latest['gradient_norm']:.2f}"),
            ("clips/s", f"{latest['clips_per_second']:.0f}"),
            ("waiting for data", f"{latest['waiting_for_data']:.1%}"),
        ]
        if health:
            values += [
                ("std", f"{health['std_mean']:.2f}"),
                ("effective rank", f"{health['effective_rank']:.1f}"),
            ]
            if health["distance_correlation"] is not None:
                values.append(("distance correlation", f"{health['distance_correlation']:.2f}"))
        return values

    def _table(self) -> Table:
        from rich.table import Table

        table = Table.grid(padding=(0, 2))
        values = self._values()
        table.add_row(*[f"[dim]{name}[/dim]" for name, _ in values])
        table.add_row(*[value for _, value in values])
        return table
