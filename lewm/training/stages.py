"""The stages of a run: what each trains, where it is, and whether it has ended."""

from __future__ import annotations

import logging
from pathlib import Path

from lewm.checkpoints import run
from lewm.checkpoints.frozen import settled
from lewm.config import Config, FrozenEncoder, Model, Stage, stage_of

log = logging.getLogger(__name__)


def settled_config(config: Config) -> Config:
    """The configuration with all that it takes to build the models of all stages and the last one.

    Stages whose weights no encoder takes are left out: training them would be in vain.

    Raises:
        LewmError: the weights of a frozen encoder cannot be read, do not fit, or are of a stage that is not trained
            before.
    """
    models: dict[str, Model] = {}
    stages: dict[str, Stage] = {}
    for name, stage in config.stages.items():
        models[name] = settled(stage.model(config.model), models, section_of(name))
        stages[name] = stage.model_copy(update={"encoder": models[name].encoder})
    last = settled(config.model, models)
    taken = _taken(last)
    for name in reversed(stages):
        if name in taken:
            taken |= _taken(models[name])
        else:
            log.warning("the stage %s is not trained: no encoder takes its weights (stage:%s)", name, name)
    used = {name: stage for name, stage in stages.items() if name in taken}
    return config.model_copy(update={"model": last, "stages": used})


def section_of(stage: str | None) -> str:
    """How the keys of a training's model begin in the configuration of its run; None stands for the last training."""
    return "model" if stage is None else f"stages.{stage}"


def directory_of(whole: Path, stage: str) -> Path:
    """The directory of a stage of the run in `whole`."""
    return whole / run.STAGES / stage


def _taken(model: Model) -> set[str]:
    """The stages whose weights the model takes."""
    names = (stage_of(one.weights) for one in model.encoders() if isinstance(one, FrozenEncoder))
    return {name for name in names if name is not None}
