"""The world model: encoder, action embedder, predictor. `build(config.model)` makes one."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lewm.model.assembly import ENCODERS as ENCODERS
    from lewm.model.assembly import PREDICTORS as PREDICTORS
    from lewm.model.assembly import build as build

__all__ = ["ENCODERS", "PREDICTORS", "build"]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Import on first use: this package's modules import one another, and some need no torch."""
    if name in __all__:
        from lewm.model import assembly

        return getattr(assembly, name)
    raise AttributeError(f"module 'lewm.model' has no attribute {name!r}")
