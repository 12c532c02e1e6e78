"""The error for a tensor that is too large for the machine names both sizes, before any allocation."""

import pytest
import torch

from lewm import recipes
from lewm.config import resolve
from lewm.errors import LewmError
from lewm.memory import check_training
from lewm.model.assembly import build, parameter_count
from lewm.planning.controller import Controller

CPU = torch.device("cpu")
PAPER = recipes.paper("two-room", 2)


def test_parameters_are_counted_without_a_random_number_or_a_byte():
    state = torch.get_rng_state()
    assert parameter_count(PAPER.model) == 18_034_478
    assert torch.equal(torch.get_rng_state(), state)


def test_a_model_beyond_the_machine():
    wide = {"width": 65_536, "mlp": 65_536, "depth": 64}
    model = resolve(PAPER, None, {f"model.predictor.{name}": value for name, value in wide.items()}).model
    with pytest.raises(LewmError, match=r"the model needs at least [\d,.]+ GiB of memory, cpu has [\d,.]+ GiB\nLower"):
        build(model)


def test_training_needs_weights_four_times_a_batch_and_the_directions(monkeypatch):
    config = resolve(
        PAPER,
        None,
        {
            "training.batch_size": 2,
            "objective.sigreg.directions": 100,
            "objective.sigreg.knots": 10,
            "model.predictor.history": 3,
        },
    )
    frames = 2 * 4 * 3 * (8 * 10 + 4 * 224 * 224)
    needed = 4 * (4 * 1000 + 50) + frames + 4 * 100 * (192 + 2 * 4 * 10)
    monkeypatch.setattr("lewm.memory.physical_memory", lambda _: needed)
    check_training(config, 1000, 50, (8, 10), CPU)
    monkeypatch.setattr("lewm.memory.physical_memory", lambda _: needed - 1)
    with pytest.raises(
        LewmError, match=r"training needs at least .*\nLower training.batch_size.*objective.sigreg.knots"
    ):
        check_training(config, 1000, 50, (8, 10), CPU)
    without = resolve(config, None, {"objective.sigreg": {"kind": "exact"}})
    monkeypatch.setattr("lewm.memory.physical_memory", lambda _: 0)
    with pytest.raises(LewmError, match=r"\nLower training.batch_size, model.predictor.history or the widths"):
        check_training(without, 1000, 50, (8, 10), CPU)


def test_the_candidates_of_a_plan(make_model, tiny, monkeypatch):
    planning = resolve(tiny, None, {"planning.planner.samples": 10**6, "planning.horizon": 1000}).planning
    monkeypatch.setattr("lewm.memory.physical_memory", lambda _: 2**34)
    with pytest.raises(LewmError, match=r"a plan needs at least 37.3 GiB of memory, cpu has 16.0 GiB\nLower --samples"):
        Controller(make_model({}), planning, seed=0)
