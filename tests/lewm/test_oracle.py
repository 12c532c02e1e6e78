"""An oracle plans in copies of the simulator, and so solves what the search can solve."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lewm.config import Adam, resolve
from lewm.errors import LewmError
from lewm.evaluation import oracle as oracles
from lewm.evaluation.oracle import Oracle, SimulatorDynamics, run_oracle, true_distance
from lewm.evaluation.tasks import Placed, Task, Tasks
from lewm.planning.plan import Context
from lewm_data.envs.judgement import BY_STATES
from lewm_data.envs.registry import world

SKIP, BLOCKS, ACTIONS = 3, 4, 2
FEW = {"planning.planner.samples": 32, "planning.planner.elites": 6, "planning.planner.iterations": 4}


@pytest.fixture(params=["two-room", "push-t"])
def place(request):
    return world(request.param)


@pytest.fixture
def states(place):
    """States of three environments."""
    env = place.make(3, 16, False)
    env.reset(seed=0)
    return env.state


@pytest.fixture
def dynamics(place, monkeypatch):
    """Dynamics whose blocks are actions of the world; two rows are simulated together."""
    monkeypatch.setattr(oracles, "ROWS", 2)
    made = SimulatorDynamics(place, lambda blocks: blocks.reshape(len(blocks), -1, ACTIONS).numpy(), SKIP * ACTIONS)
    yield made
    made.close()


def draw(environments, samples):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(environments, samples, BLOCKS, SKIP * ACTIONS, generator=generator) * 2 - 1


def test_each_candidate_leads_where_the_world_goes(place, states, dynamics):
    candidates = draw(3, 5)
    reached = dynamics(torch.from_numpy(states)[:, None], candidates)
    assert reached.shape == (3, 5, BLOCKS, place.state_dim)
    env = place.make(1, 16, False)
    for b, s in [(0, 0), (1, 4), (2, 3)]:
        env.reset(seed=0)
        env.set_state(states[b : b + 1])
        for block in range(BLOCKS):
            for action in candidates[b, s, block].reshape(SKIP, ACTIONS).numpy():
                env.step(action[None])
            np.testing.assert_array_equal(reached[b, s, block].numpy(), env.state[0])


def test_the_cost_is_the_distance_of_the_last_state(place, states, dynamics):
    candidates, goals = draw(3, 5), torch.from_numpy(states[::-1].copy())
    context = Context(torch.from_numpy(states)[:, None])
    costs = true_distance(place)(dynamics, context, goals)(candidates)
    ends = dynamics(context.latents, candidates)[:, :, -1].numpy()
    for b in range(3):
        expected = place.path_distance(ends[b], np.repeat(goals[b : b + 1].numpy(), 5, axis=0))
        np.testing.assert_allclose(costs[b].numpy(), expected, rtol=1e-6)


@pytest.fixture
def agent(make_model, tiny):
    """An oracle in Two-Room, with a short search."""
    model = make_model({"model.frameskip": 5})
    model.action_low.fill_(-1)
    model.action_high.fill_(1)
    return Oracle(model, resolve(tiny, None, FEW).planning, 0, world=world("two-room"))


def tasks(starts, goals, factors):
    each = (
        Task(0, 0, Placed(np.array(start), np.array(goal), factors)) for start, goal in zip(starts, goals, strict=True)
    )
    return Tasks(
        env="two-room",
        protocol="held-out",
        dataset=None,
        each=tuple(each),
        picture=None,
        goal_offset=25,
        budget=50,
        judgement=BY_STATES,
        discarded_solved=0,
        discarded_ended=0,
    )


STARTS, GOALS = [[0.2, 0.2], [0.3, 0.7], [0.8, 0.3]], [[0.4, 0.4], [0.2, 0.3], [0.7, 0.6]]


def test_an_oracle_reaches_goals_that_an_untrained_model_cannot_know(agent):
    played, seconds = run_oracle(agent, tasks(STARTS, GOALS, {}), batch=2)
    assert played.solved.all()
    assert seconds.per_plan > 0


def test_an_oracle_refuses_what_it_cannot_simulate(agent):
    with pytest.raises(LewmError, match=r"factors of these tasks vary"):
        run_oracle(agent, tasks(STARTS, GOALS, {"door.position": 0.4}), batch=2)
    with pytest.raises(LewmError, match=r"asks for gradients, and a simulator has none"):
        replace(agent, planning=agent.planning.model_copy(update={"planner": Adam()}))
    with pytest.raises(LewmError, match=r"needs a world whose states can be set"):
        replace(agent, world=replace(agent.world, restorable=False))
