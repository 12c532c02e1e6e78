"""Shared by all tests."""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import jaxtyping
import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from lewm.config import Config
    from lewm.model.world_model import WorldModel

# A shell makes what it runs in the background deaf to Ctrl-C; some tests press it, and expect what a terminal sees.
signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ["MPLBACKEND"] = "agg"  # matplotlib reads it when it is imported; the tests of kernels do without matplotlib

os.environ.pop("COLUMNS", None)  # processes of pytest-xdist have it, and the command line would keep that width

if "PYTEST_XDIST_WORKER" in os.environ:  # there is a process a core, and threads of theirs would wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # PyTorch reads it when it is imported, here and in programs begun

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

GOLDEN = Path(__file__).parent / "golden"

# The heads are of a width that the Triton kernels take.
TINY = {
    "model.frame_size": 16,
    "model.latent": 8,
    "model.projector_hidden": 16,
    "model.predictor.projector_hidden": 16,
    "model.encoder": {"kind": "conv", "channels": [4, 8], "width": 16},
    "model.predictor.width": 8,
    "model.predictor.depth": 2,
    "model.predictor.heads": 2,
    "model.predictor.head_dim": 16,
    "model.predictor.mlp": 16,
    "model.action_embedder.hidden": 16,
    "objective.sigreg.directions": 64,
    "training.steps": 6,
    "training.batch_size": 8,
    "training.log_every": 1,
    "training.evaluate_every": 3,
    "training.checkpoint_every": 2,
    "training.compile": "off",  # the compiler would trace the checks of shapes too
    "planning.planner.samples": 64,
    "planning.planner.elites": 8,
    "planning.planner.iterations": 3,
}


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of reference values of the released code."""
    return GOLDEN


@pytest.fixture(scope="session")
def fill() -> ModuleType:
    """The module that draws the inputs and weights behind the reference values."""
    spec = importlib.util.spec_from_file_location("fill", GOLDEN / "fill.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# What needs torch is imported in the fixtures: the tests of lewm_data begin without it.


@pytest.fixture(scope="session")
def tiny() -> Config:
    """The small recipe for Two-Room, shrunk."""
    from lewm import recipes
    from lewm.config import resolve

    return resolve(recipes.small("two-room", 2), None, TINY)


@pytest.fixture(scope="session")
def make_model(tiny: Config) -> Callable[..., WorldModel]:
    """Makes a tiny model with random weights, in eval mode, with these changes of the configuration."""
    import torch

    from lewm.config import resolve
    from lewm.model import build

    def make(changes: dict[str, Any]) -> WorldModel:
        torch.manual_seed(0)
        model = build(resolve(tiny, None, changes).model)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for block in getattr(
                model.predictor, "blocks", ()
            ):  # at first zero, and then parts of the model would not matter
                block.modulation.weight.normal_(0, 0.3, generator=generator)
                block.modulation.bias.normal_(0, 0.3, generator=generator)
            for parameter in model.prediction_projector.parameters() if model.predictor.residual else ():
                parameter.normal_(0, 0.3, generator=generator)  # of the last layer, at first zero too
        model.action_mean.zero_()
        model.action_std.fill_(1)
        return model.eval()

    return make


@pytest.fixture(params=[1, 3], ids=["history-1", "history-3"])
def model(request: pytest.FixtureRequest, make_model: Callable[..., WorldModel]) -> WorldModel:
    """A tiny model for both lengths of history."""
    return make_model({"model.predictor.history": request.param})


@pytest.fixture
def traceable() -> Iterator[None]:
    """Without checks of annotations, which torch.compile would trace, and without the programs of other tests."""
    import torch

    jaxtyping.config.update("jaxtyping_disable", True)
    torch.compiler.reset()
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
