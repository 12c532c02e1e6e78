"""Agents that do not plan: the demonstrator reaches every goal, in any batch, and says where it cannot be led."""

from dataclasses import replace

import numpy as np
import pytest

from lewm.errors import LewmError
from lewm.evaluation import actors
from lewm.evaluation.actors import DRAWN_TOGETHER, run_actor
from lewm.model import build
from lewm.planning.controller import Controller
from tests.lewm.evaluation.drawing import WORLD, draw


@pytest.fixture
def controller(tiny):
    return Controller(build(tiny.model), tiny.planning, seed=0)


def test_the_demonstrator_reaches_every_goal_in_any_batch(dataset, controller):
    tasks, films, shares = draw(dataset), [], []
    played, _ = run_actor(
        "expert", controller, WORLD, tasks, 16, 7, films.append, lambda share, solved: shares.append((share, solved))
    )
    assert played.solved.all()
    assert played.steps.max() <= 25  # as many as the noisy demonstration took
    assert [len(film.frames) - 1 for film in films] == played.steps.tolist()
    assert shares == sorted(shares)
    assert shares[-1] == (1.0, 20)
    alone, _ = run_actor("expert", controller, WORLD, tasks, 16, 1)
    assert np.array_equal(alone.steps, played.steps)


@pytest.mark.parametrize(("agent", "together"), [("random", 50), ("expert", 1)])
def test_seconds_are_those_of_an_action(dataset, controller, monkeypatch, agent, together):
    now = [0.0]

    def clock(device):
        now[0] += 6
        return now[0]

    monkeypatch.setattr(actors, "clock", clock)
    _, seconds = run_actor(agent, controller, WORLD, draw(dataset, count=3), 16, 3)
    assert together <= DRAWN_TOGETHER
    assert (seconds.per_plan, seconds.preparing) == (6 / together / 3, 0)


def test_a_world_without_a_demonstrator_is_named(dataset, controller):
    with pytest.raises(LewmError) as caught:
        run_actor("expert", controller, replace(WORLD, policies={}), draw(dataset, count=3), 16, 3)
    assert str(caught.value) == ("two-room: has no demonstrator, which the agent expert needs\nUse another --agent.")


def test_a_demonstrator_is_not_led_to_a_picture(dataset, controller):
    tasks = replace(draw(dataset, count=3), picture=np.zeros((16, 16, 3), np.uint8))
    with pytest.raises(LewmError, match="a demonstrator is led to states"):
        run_actor("expert", controller, WORLD, tasks, 16, 3)
