"""LeWorldModel: train a small latent world model from pixels, plan with it, measure what it learnt.

model = lewm.load("~/.lewm/runs/two-room-small")
latents = model.encode(frames)

run = lewm.open_run("~/.lewm/runs/two-room-small")
with run.data() as data:
    frames = data.dataset.frames(data.dataset.rows(data.unseen))
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lewm.checkpoints import load as load
    from lewm.model.world_model import WorldModel as WorldModel
    from lewm.opened_run import open_run as open_run

__all__ = ["WorldModel", "load", "open_run"]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Import on first use: the command line's help and the configuration need no torch."""
    if name == "load":
        from lewm.checkpoints import load

        return load
    if name == "open_run":
        from lewm.opened_run import open_run

        return open_run
    if name == "WorldModel":
        from lewm.model.world_model import WorldModel

        return WorldModel
    raise AttributeError(f"module 'lewm' has no attribute {name!r}")
