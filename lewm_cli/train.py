"""`lewm train`: dataset -> run."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lewm_cli import failures, options, output, results, train_policy
from lewm_cli.data.convert import converted
from lewm_cli.unknown_world import say_unknown

PROBED = 5  # held-out episodes that a probe is trained, chosen and tested on at least

if TYPE_CHECKING:
    import torch

    from lewm.config import Config, PolicyKind
    from lewm.training.loop import Beginning, Progress


def train(
    data: Annotated[
        Path | None,
        typer.Option(
            help="HDF5 dataset; or a folder in another format, which lewm data convert makes one of first.",
            show_default="the newest in $LEWM_HOME/datasets",
        ),
    ] = None,
    env: Annotated[
        str | None,
        typer.Option(
            help=options.ANY_ENV + " Any other name: recordings without a simulator.",
            show_default="as the file says",
        ),
    ] = None,
    recipe: Annotated[
        str, typer.Option(help="Base configuration: small, dino-wm-small (CPU); medium, paper, dino-wm (GPU).")
    ] = "small",
    steps: Annotated[
        int | None,
        typer.Option(
            min=1, help="Steps of the last training; --set stages.NAME.steps for a stage.", show_default="the recipe's"
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the data, instead of --steps.")] = None,
    lambda_: Annotated[
        float | None,
        typer.Option("--lambda", min=0, help="Weight of SIGReg in the objective lewm.", show_default="the recipe's"),
    ] = None,
    fit: Annotated[
        str | None,
        typer.Option(
            help="How frames that are not square become so: crop, letterbox (adds bars) or stretch.",
            show_default="the recipe's: crop",
        ),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=2, help="Clips a step.", show_default="the recipe's")] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=options.MAX_SEED, help="Seed of every random choice.", show_default="the recipe's"),
    ] = None,
    device: options.Device = "auto",
    precision: Annotated[str | None, typer.Option(help="fp32 or bf16.", show_default="the recipe's")] = None,
    cache: Annotated[
        str, typer.Option(help="Where frames stay between the steps: auto, off (in the file), ram or device.")
    ] = "auto",
    policy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="idm|gcbc|gcivl",
            help="Then train this policy too, as 'lewm train-policy --kind' does by default; repeatable. With "
            "--resume, those that the run does not have yet.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a run, bit-exactly on a CPU.")] = False,
    out: Annotated[Path | None, typer.Option(help="Run directory.", show_default="$LEWM_HOME/runs/ENV-RECIPE")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any key of the configuration; repeatable.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML or JSON file with any part of the configuration.")] = None,
    json: options.Json = False,
) -> None:
    """Train a world model on a dataset: it learns to predict the next embedding.

    Where the configuration has stages, they are trained first, each in RUN/stages/NAME.

    The configuration is the recipe, then --config, then --set, then the other options; the later wins.
    """
    if steps is not None and epochs is not None:
        raise typer.BadParameter("--steps and --epochs exclude each other")
    flags = {
        "training.steps": steps,
        "training.epochs": epochs,
        "objective.lambda": lambda_,
        "model.fit": fit,
        "training.batch_size": batch_size,
        "training.seed": seed,
        "training.precision": precision,
    }
    flags = {key: value for key, value in flags.items() if value is not None}
    assignments = options.assignments(set_ or []) | flags
    if resume and (assignments or config):
        raise typer.BadParameter("--resume continues with the run's own configuration: give it no other setting")

    from lewm.checkpoints.run import read_config
    from lewm.files import newest_run
    from lewm.heads.after_training import checked_policies, with_policies
    from lewm.run_worlds import import_named
    from lewm.runtime import choose_device
    from lewm.training.frame_cache import check_setting
    from lewm.training.interruption import Interrupted
    from lewm.training.loop import train as train_model

    where, kept = choose_device(device), check_setting(cache)
    if resume:
        out = out or newest_run()
        settings, trained_on = read_config(out)
        if env is not None:
            import_named(out, settings, env)
        data = data or Path(trained_on.path)
    else:
        data = options.dataset_or_newest(data)
        data = converted(data) if data.is_dir() else data
        settings = _configure(recipe, data, env, config, assignments)
    kinds = checked_policies(settings, policy or [])
    display = _Display(settings, data, where)
    try:
        with display.live:
            told = (display.begin, display.encoded, display.update)
            report = train_model(settings, data, out, where, resume, kept, *told)
    except Interrupted as error:
        if error.command is None:
            raise
        raise Interrupted(error.signal, error.kept, with_policies(error.command, kinds)) from error
    result = {
        "run": str(report.run),
        "steps": report.steps,
        "seconds": report.seconds,
        "stages": report.stages,
        "precision": settings.training.precision,
        "compiled": report.compilation.on,
        "health": report.health.as_dict(),
    }
    try:
        _draw(report.run)
        if kinds:
            result["policies"] = _train_policies(report.run, data, kinds, where)
    finally:  # the result of the training is shown whatever becomes of its picture and of the policies
        if json:
            output.show_json(result)
        else:
            stages = "".join(
                f", {seconds:.0f} s of them in the stage {name}" for name, seconds in report.stages.items()
            )
            output.show(f"{report.run}: {report.steps} steps in {report.seconds:.0f} s{stages}")


def _train_policies(run: Path, data: Path, kinds: list[PolicyKind], device: torch.device) -> dict[str, Any]:
    """Train policies after the model, and say how well each does; gives their files, and the seconds they took."""
    from rich.progress import TaskID, TaskProgressColumn

    from lewm.heads.after_training import train_policies
    from lewm.heads.files import policy_file

    with results.shown_anyway(lambda _: None), output.progress_bar(TaskProgressColumn()) as bar:
        tasks: dict[PolicyKind, TaskID] = {kind: bar.add_task(f"policy {kind}", total=1) for kind in kinds}

        def on_progress(kind: PolicyKind, what: str, share: float) -> None:
            output.show_stage(bar, tasks[kind], f"{kind}: {what}", share)

        reports = train_policies(run, data, kinds, device, on_progress)
    for kind, report in reports.items():
        output.note(f"policy {kind}: {run / policy_file(kind)}{' is there already' if report is None else ''}")
        if report is not None:
            output.note(train_policy.said(report))
    return {
        kind: {"file": str(run / policy_file(kind)), "seconds": None if report is None else report.seconds}
        for kind, report in reports.items()
    }


def _draw(run: Path) -> None:
    """Draw training.png of the run and of its stages; where matplotlib is not installed, say so."""
    from lewm.checkpoints.run import METRICS, STAGES
    from lewm.errors import LewmError
    from lewm.training.plot import plot_training
    from lewm.training.record import writing_into

    for one in (*(path.parent for path in sorted(run.glob(f"{STAGES}/*/{METRICS}"))), run):
        with writing_into(one):
            try:
                output.note(f"picture: {plot_training(one)}")
            except LewmError as error:
                output.note(*failures.explain(error))


def _configure(recipe: str, data: Path, env: str | None, file: Path | None, assignments: dict[str, Any]) -> Config:
    """The recipe for the dataset's environment, overridden. The package of a typed `env` is imported."""
    from lewm.config import resolve
    from lewm.recipes import recipe as named
    from lewm_data.envs.registry import known_world, names_world, plain_name, world
    from lewm_data.store.dataset import Dataset
    from lewm_data.store.merge import unconverted

    with Dataset.open(data) as dataset:
        said, action_dim = dataset.attributes.get("env"), dataset.action_dim
        episodes, left = dataset.num_episodes, unconverted(dataset)
    name = world(env).name if env is not None and ":" in env else plain_name(env if env is not None else said)
    settings = resolve(named(recipe, name, action_dim), file, assignments)
    if known_world(settings.env) is None:
        say_unknown(settings, names_world(env if env is not None else said))
    if left:
        output.note(
            f"{data}: {left} episodes are not converted yet; its lewm data convert goes on when given once more"
        )
    held_out = max(round(episodes * settings.training.held_out), 1)
    if held_out < PROBED <= episodes // 2:
        share = math.ceil(100 * PROBED / episodes) / 100
        output.note(
            f"{held_out} of {episodes} episodes are held out, and lewm probe needs {PROBED}: "
            f"--set training.held_out={share:g}"
        )
    return settings


class _Display:
    """A live bar with the latest metrics under it; where stderr is not a terminal, a line for each health check.

    Each stage has a bar of its own, and so has the encoding of frames before a training on latents.
    """

    def __init__(self, settings: Config, data: Path, device: torch.device) -> None:
        from rich.console import Group
        from rich.live import Live

        self.settings, self.data, self.device = settings, data, device
        self.bar = output.progress_bar(output.count_of("steps"))
        self.encoding = output.progress_bar()
        self.training = self.health = ""
        live = Live(
            console=output.stderr, get_renderable=lambda: Group(self.encoding, self.bar, self.training, self.health)
        )
        self.live = live if output.stderr.is_terminal else contextlib.nullcontext()

    def begin(self, beginning: Beginning) -> None:
        """Say what is trained, where and how."""
        compilation, stage = beginning.compilation, beginning.stage
        objective = self.settings.objective if stage is None else self.settings.stages[stage].objective
        name = "the model" if stage is None else f"the stage {stage}"
        output.note(
            f"{self.data} -> {beginning.run} on {self.device}, in {self.settings.training.precision}, {compilation}"
        )
        if beginning.trainings > 1:
            output.note(f"training {beginning.number} of {beginning.trainings}: {name}, {beginning.steps} steps")
        output.note(f"loss: {objective.formula()}")
        if compilation.on:
            output.note("the first step compiles encoder and predictor; without: --set training.compile=off")
        if beginning.cache is not None and beginning.cache.kind != "off":
            output.note(str(beginning.cache))
        if beginning.resumed:
            output.note(f"goes on from step {beginning.step} of {beginning.steps}")
        self.bar.add_task(stage or "train", total=beginning.steps, completed=beginning.step)

    def encoded(self, share: float) -> None:
        """Show how much of the frames is read or encoded before training; one bar is there for all trainings."""
        for task in self.encoding.task_ids or [self.encoding.add_task("prepare frames", total=1)]:
            self.encoding.update(task, completed=share)

    def update(self, progress: Progress) -> None:
        metrics = progress.metrics
        terms = "  ".join(f"{name} {value:.4g}" for name, value in metrics["terms"].items())
        self.bar.update(self.bar.task_ids[-1], completed=progress.step)
        self.training = (
            f"loss {metrics['loss']:.4f}  {terms}  "
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
