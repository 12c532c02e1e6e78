"""What a search and random actions do in the tasks, and what of it is counted."""

import numpy as np
import pytest
import torch

from lewm.config import resolve
from lewm.evaluation import agents
from lewm.evaluation.actors import random_floor
from lewm.evaluation.agents import run_planner
from lewm.model import build
from lewm.planning.controller import Controller
from lewm.planning.plan import Plan
from lewm_data.envs.two_room import TwoRoomVectorEnv
from tests.lewm.evaluation.drawing import WORLD, draw, of


def test_only_films_and_plans_are_drawn(dataset, tiny, awake, monkeypatch):
    drawn = []
    render = TwoRoomVectorEnv.render
    monkeypatch.setattr(TwoRoomVectorEnv, "render", lambda self: drawn.append(1) or render(self))
    tasks = draw(dataset, count=4)
    random_floor(Controller(awake, tiny.planning, 0), WORLD, tasks, 16, 4)
    assert not drawn
    plans = {"planning.horizon": 2, "planning.execute": 2, "planning.planner.iterations": 1}
    planning = resolve(tiny, None, plans).planning
    played, _ = run_planner(Controller(awake, planning, seed=3), WORLD, tasks, 16, 4)
    assert not played.solved.all()
    assert not len(played.distance)
    assert len(drawn) == 5  # plans of 10 steps for a budget of 50


class Oracle(Controller):
    """Knows the world: walks straight towards the goal's state, remembered by episode number."""

    def embed(self, frames):
        return torch.zeros(len(frames), 1)

    def plan(self, context, goals, episodes, replan, left, on_iteration):
        on_iteration(0.5)
        calls.append((episodes.tolist(), replan))
        straight = (of(targets, "goal") - of(targets, "state"))[episodes]
        steps = np.tile(np.sign(straight)[:, None] * np.abs(straight)[:, None] / (10 * 5 / 224), (1, 25, 1))
        return a_plan(torch.from_numpy(steps).float().reshape(len(steps), 5, -1))

    def actions(self, blocks):
        return blocks.reshape(len(blocks), -1, 2).numpy()


def a_plan(blocks):
    """The settings of some planner."""
    return Plan(blocks, torch.zeros(len(blocks)), torch.zeros(len(blocks), 1))


calls: list = []


targets = None


def test_success_is_counted_and_solved_episodes_are_not_planned_again(dataset, tiny):
    global targets
    targets = draw(dataset, count=12)
    calls.clear()
    shares = []
    controller = Oracle(build(tiny.model), tiny.planning.model_copy(update={"execute": None}), seed=0)
    films = []
    played, _ = run_planner(
        controller, WORLD, targets, 16, 5, films.append, lambda share, done: shares.append((share, done))
    )
    solved, state, goal = played.solved, of(targets, "state"), of(targets, "goal")
    straight = WORLD.path_distance(state, goal)
    direct = np.linalg.norm(goal - state, axis=1)
    assert solved[np.isclose(straight, direct)].all()
    first_plans = [episodes for episodes, replan in calls if replan == 0]
    assert first_plans == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11]]
    for episodes, replan in calls:
        assert replan == 0 or not solved[episodes].all()
    assert [film.task for film in films] == list(range(12))
    assert [film.solved for film in films] == solved.tolist()
    assert played.steps.tolist() == [len(film.frames) - 1 for film in films]
    assert (played.steps[~solved] == 50).all()
    assert set(played.steps[solved].tolist()) - {50}
    assert shares[-1] == (1.0, int(solved.sum()))
    assert [share for share, _ in shares] == sorted(share for share, _ in shares)


def test_preparation_is_no_part_of_the_seconds_a_plan(dataset, tiny, monkeypatch):
    now, made = [0.0], []

    class Slow(Controller):
        def plan(self, context, goals, *about):
            made.append(len(goals))
            now[0] += 7
            self.solver.seconds_preparing += 5
            return a_plan(torch.zeros(len(goals), 5, 10))

        def actions(self, blocks):
            return np.zeros((len(blocks), 5, 2), np.float32)

    controller = Slow(build(tiny.model), tiny.planning, seed=0)
    monkeypatch.setattr(agents, "clock", lambda device: now[0])
    for _ in range(2):
        made.clear()
        _, seconds = run_planner(controller, WORLD, draw(dataset, count=6), 16, 4)
        assert seconds.per_plan == pytest.approx(2 * len(made) / sum(made))
        assert seconds.preparing == 5 * len(made)


def test_random_actions_are_the_same_for_the_same_seed_and_in_any_batch(dataset, tiny):
    tasks = draw(dataset, count=40)
    model = build(tiny.model)
    first = random_floor(Controller(model, tiny.planning, 0), WORLD, tasks, 16, 40).solved
    assert np.array_equal(first, random_floor(Controller(model, tiny.planning, 0), WORLD, tasks, 16, 7).solved)
    assert not np.array_equal(first, random_floor(Controller(model, tiny.planning, 1), WORLD, tasks, 16, 40).solved)
    assert 0 < first.sum() < 40


def test_outcomes_do_not_depend_on_the_batch(dataset, tiny, awake):
    controller = Controller(awake, tiny.planning, seed=3)
    tasks = draw(dataset, count=6)
    films = {batch: [] for batch in (1, 4, 6)}
    for batch, kept in films.items():
        run_planner(controller, WORLD, tasks, 16, batch, kept.append)
    for batch in (1, 4):
        for one, other in zip(films[batch], films[6], strict=True):
            assert np.array_equal(one.frames, other.frames)
