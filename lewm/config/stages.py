"""Trainings that come before the last one of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from lewm.config.encoder import Encoder
from lewm.config.limits import Float, Latent, Steps, Width
from lewm.config.model import Model, Predictor
from lewm.config.objective import Objective
from lewm.config.section import Section

if TYPE_CHECKING:
    from lewm.config.tree import Config

SOURCE = "stage:"  # how the `weights` of a frozen encoder begin that takes a stage's; the stage's name follows

StageName = Annotated[str, Field(pattern=r"^[a-z0-9_-]+$", max_length=40)]  # the name of its directory, too


class Stage(Section):
    """A training that comes before the last one, whose model may take its encoder, frozen.

    What a stage does not set is that of the run. So all stages hold out the same episodes.
    """

    encoder: Encoder
    latent: Latent
    projector_hidden: Width | None
    predictor: Predictor
    objective: Objective
    steps: Steps
    learning_rate: Annotated[Float, Field(gt=0)]

    def model(self, last: Model) -> Model:
        """The model that the stage trains.

        Args:
            last: The model of the run's last training.

        Raises:
            ValidationError: Its parts do not fit.
        """
        own = {name: getattr(self, name) for name in ("encoder", "latent", "projector_hidden", "predictor")}
        return Model(**(dict(last) | own))

    def config(self, whole: Config) -> Config:
        """The plain configuration of its training, which has no stages.

        Args:
            whole: The configuration of the run.

        Raises:
            ValidationError: Its parts do not fit.
        """
        context = min(whole.planning.context, self.predictor.history)
        own = {"steps": self.steps, "epochs": None, "learning_rate": self.learning_rate}
        changes = {
            "model": self.model(whole.model),
            "objective": self.objective,
            "training": whole.training.model_copy(update=own),
            "planning": whole.planning.model_copy(update={"context": context}),
            "stages": {},
        }
        return type(whole)(**(dict(whole) | changes))


def stage_of(weights: str) -> str | None:
    """The name of the stage that the `weights` of a frozen encoder stand for, or None."""
    return weights.removeprefix(SOURCE) if weights.startswith(SOURCE) else None
