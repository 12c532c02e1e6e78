"""`lewm train`: dataset -> run."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lewm_cli import failures, options, output

if TYPE_CHECKING:
    from lewm.config import Config
    from lewm.training.loop import Progress


def train(
    data: options.Data = None,
    env: Annotated[
        str | None,
        typer.Option(
            help='Environment of the data: one of "lewm envs", or any Gymnasium id.', show_default="as the file says"
        ),
    ] = None,
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
    if resume and (assignments or config or env):
        raise typer.BadParameter("--resume continues with the run's own configuration: give it no other setting")

    from lewm.checkpoints.run import read_config
    from lewm.files import file_name, home, newest_run, unused
    from lewm.runtime import choose_device
    from lewm.training.compilation import choose_compilation
    from lewm.training.loop import train as train_model
    from lewm.training.plot import plot_training

    if resume:
        out = out or newest_run()
        settings, trained_on = read_config(out)
        data = data or Path(trained_on.path)
    else:
        data = _dataset(data)
        settings = _configure(recipe, data, env, config, assignments)
        out = out or unused(home() / "runs" / f"{file_name(settings.env)}-{settings.recipe}")
    where = choose_device(device)
    output.note(f"{data} -> {out} on {where}")
    if choose_compilation(settings.training.compile, where).on:
        output.note("the first step compiles encoder and predictor; without: --set training.compile=off")
    display = _Display(settings)
    with display.live:
        report = train_model(settings, data, out, where, resume=resume, on_progress=display.update)
    try:
        output.note(f"picture: {plot_training(out)}")
    except ValueError as error:
        output.note(*failures.explain(error))
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


def _configure(recipe: str, data: Path, env: str | None, file: Path | None, assignments: dict[str, Any]) -> Config:
    """The recipe for the dataset's environment, overridden."""
    from lewm.config import resolve
    from lewm.errors import LewmError
    from lewm.recipes import recipe as named
    from lewm_data.envs.registry import world
    from lewm_data.store import Dataset

    with Dataset.open(data) as dataset:
        env, action_dim = env or dataset.attributes.get("env"), dataset.action_dim
    if env is None:
        raise LewmError(f"{data}: does not say which environment it is of", "Name it with --env, for example two-room.")
    return resolve(named(recipe, world(env).name, action_dim), file, assignments)


def _assignments(pairs: list[str]) -> dict[str, Any]:
    split = [pair.partition("=") for pair in pairs]
    wrong = [pair for pair, (_, equals, _) in zip(pairs, split, strict=True) if not equals]
    if wrong:
        raise typer.BadParameter(f"expected KEY=VALUE, got {wrong[0]!r}", param_hint="--set")
    return {key.strip(): value.strip() for key, _, value in split}


class _Display:
    """A live bar with the latest metrics under it; a line a health check where stderr is not a terminal."""

    def __init__(self, settings: Config) -> None:
        from rich.console import Group
        from rich.live import Live

        self.bar = output.progress_bar(output.count_of("steps"))
        self.task = self.bar.add_task("train", total=settings.training.steps)
        self.training = self.health = ""
        live = Live(console=output.stderr, get_renderable=lambda: Group(self.bar, self.training, self.health))
        self.live = live if output.stderr.is_terminal else contextlib.nullcontext()

    def update(self, progress: Progress) -> None:
        metrics = progress.metrics
        self.bar.update(self.task, completed=progress.step, total=progress.steps)
        self.training = (
            f"loss {metrics['loss']:.4f}  prediction {metrics['prediction']:.4f}  SIGReg {metrics['sigreg']:.3f}  "
            f"gradient norm {metrics['gradient_norm']:.2f}  clips/s {metrics['clips_per_second']:.0f}  "
            f"waiting for data {metrics['waiting_for_data']:.1%}"
        )
        if "health" in metrics:
            health = metrics["health"]
            self.health = f"held out: std {health['std_mean']:.2f}  effective rank {health['effective_rank']:.1f}"
            if health["distance_correlation"] is not None:
                self.health += f"  distance correlation {health['distance_correlation']:.2f}"
            if not output.stderr.is_terminal:
                output.note(f"step {progress.step}/{progress.steps}: {self.training}", f"  {self.health}")
