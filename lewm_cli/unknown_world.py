"""The notes of `lewm train` on data of a world that lewm does not know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lewm_cli import output

if TYPE_CHECKING:
    from lewm.config import Config


def say_unknown(settings: Config, named: bool) -> None:
    """Say what is missing without the world, and which choices of the small recipe nobody has tried on such data.

    Args:
        settings: The training.
        named: Whether the data, or the user, name their world.
    """
    from lewm_data.envs.registry import nearest_world

    package, _, registered = settings.env.rpartition(":")
    if registered and all(part.isidentifier() for part in package.split(".")):
        output.note(
            f"{settings.env} is named by a file alone, so that {package} is not imported and there is no simulator; "
            f"--env {settings.env} imports it and runs its code"
        )
    elif not named:
        output.note(
            "the data do not say of which world they are: they are taken as recordings, without a simulator; name "
            "their world with --env, for example --env two-room or --env my-robot"
        )
    else:
        near = nearest_world(settings.env)
        slip = f'; if "{near}" is meant, give --env {near}' if near else ""
        output.note(
            f'"{settings.env}" is no world that lewm knows: the data are taken as recordings, without a simulator{slip}'
        )
    if settings.recipe == "small":
        output.note(*_choices(settings))


def _choices(settings: Config) -> list[str]:
    from lewm.config import LewmObjective

    model, training = settings.model, settings.training
    encoder = ", ".join(f"{key} {value}" for key, value in model.encoder.model_dump().items() if value)
    length = f"{training.steps} steps (--steps)" if training.steps else f"{training.epochs} epochs (--epochs)"
    history = model.predictor.history
    weight = "--lambda" if isinstance(settings.objective, LewmObjective) else "--set objective.KEY=VALUE"
    return [
        "the small recipe has not been compared on such data. In use, and how to choose otherwise:",
        f"  encoder {encoder} (--set model.encoder.keypoints=32 follows small things that move)",
        f"  history {history} (--set model.predictor.history=1 where one frame shows all there is to know)",
        f"  loss {settings.objective.formula()} ({weight})",
        f"  {length}",
    ]
