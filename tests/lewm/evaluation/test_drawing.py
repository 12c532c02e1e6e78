"""Tasks are what their protocol says."""

import dataclasses
import re

import numpy as np
import pytest

from lewm.errors import LewmError
from lewm.evaluation.agents import run_planner
from lewm.evaluation.from_dataset import draw_tasks
from lewm.model import build
from lewm.planning.controller import Controller
from lewm_data.collection.collect import collect
from lewm_data.store.dataset import Dataset
from tests.lewm.evaluation.drawing import HELD_OUT, WORLD, draw, of


def test_held_out_tasks_come_from_unseen_episodes_and_start_unsolved(dataset):
    tasks = draw(dataset, count=60)
    episode, step = of(tasks, "episode"), of(tasks, "step")
    assert set(episode.tolist()) <= set(HELD_OUT.tolist())
    assert not WORLD.solved(of(tasks, "state"), of(tasks, "goal")).any()
    states = dataset.column("state")
    rows = dataset.offsets[episode] + step
    np.testing.assert_array_equal(of(tasks, "state"), states[rows])
    np.testing.assert_array_equal(of(tasks, "goal"), states[rows + 25])
    assert (step + 25 < dataset.lengths[episode]).all()
    assert len(set(zip(episode.tolist(), step.tolist(), strict=True))) == 60


def test_discarded_starts_are_counted(dataset):
    near = draw(dataset, count=30, goal_offset=10)
    assert near.discarded_solved > 0
    assert not WORLD.solved(of(near, "state"), of(near, "goal")).any()


def test_the_paper_protocol_takes_any_episode_and_any_start(dataset):
    tasks = draw(dataset, "paper", count=200, goal_offset=3)
    assert set(of(tasks, "episode").tolist()) - set(HELD_OUT.tolist())
    assert WORLD.solved(of(tasks, "state"), of(tasks, "goal")).any()
    assert tasks.discarded_solved == 0


def test_the_hash_names_the_tasks(dataset):
    assert draw(dataset).sha256() == draw(dataset).sha256()
    others = [draw(dataset, seed=1), draw(dataset, count=19), draw(dataset, goal_offset=24)]
    assert len({tasks.sha256() for tasks in [draw(dataset), *others]}) == 4


def test_too_few_windows_and_wrong_protocols_are_refused(dataset):
    with pytest.raises(LewmError, match="10000 asked for"):
        draw(dataset, count=10_000)
    longest = int(dataset.lengths.max()) - 1
    with pytest.raises(
        LewmError, match=f"the longest episode has {longest} steps, and the goals are {10**30}"
    ) as caught:
        draw(dataset, goal_offset=10**30)
    assert "lewm collect --max-steps" in caught.value.remedy
    enough = int((dataset.lengths > longest).sum())
    with pytest.raises(LewmError, match=f"{enough} of {dataset.num_episodes} episodes are that long"):
        draw(dataset, "paper", goal_offset=longest, count=enough + 1)
    with pytest.raises(LewmError, match='Did you mean "held-out"'):
        draw(dataset, "heldout")


def test_the_number_of_tasks_that_an_error_offers_can_be_drawn(dataset):
    """Beyond the number of starts, their number is all that is told: which are solved already may take long to say."""
    with pytest.raises(LewmError, match=r"at most \d+ different held-out tasks") as caught:
        draw(dataset, count=10_000)
    (starts,) = map(int, re.findall(r"--episodes (\d+) or fewer", caught.value.remedy))
    with pytest.raises(LewmError, match=rf"\d+ different held-out tasks .* and \d+ of their {starts} starts") as caught:
        draw(dataset, count=starts)
    (offered,) = map(int, re.findall(r"--episodes (\d+) or fewer", caught.value.remedy))
    assert len(draw(dataset, count=offered)) == offered
    with pytest.raises(LewmError, match=f"{offered} different"):
        draw(dataset, count=offered + 1)


def test_where_no_held_out_episode_reaches_the_goal_the_offset_that_an_error_offers_does(dataset):
    """Although others do: their steps are no reason to ask for fewer episodes."""
    short = np.sort(np.argsort(dataset.lengths)[:3])
    most = int(dataset.lengths[short].max()) - 1
    assert most < int(dataset.lengths.max()) - 1
    with pytest.raises(LewmError, match=f"the 3 held-out episodes have at most {most} steps") as caught:
        draw_tasks(dataset, WORLD, "held-out", short, 4, most + 1, 50, 0)
    assert "training.held_out" in caught.value.remedy
    assert "fewer" not in caught.value.remedy
    (offered,) = map(int, re.findall(r"--goal-offset (\d+) or less", caught.value.remedy))
    assert len(draw_tasks(dataset, WORLD, "held-out", short, 4, offered, 50, 0)) == 4


def test_where_every_start_is_solved_already_that_is_the_reason(dataset):
    eager = dataclasses.replace(WORLD, solved=lambda state, goal: np.ones(len(state), dtype=bool))
    with pytest.raises(LewmError, match=r"all \d+ starts with a goal 5 steps later count as solved already") as caught:
        draw_tasks(dataset, eager, "held-out", HELD_OUT, 4, 5, 50, 0)
    assert "larger --goal-offset" in caught.value.remedy
    assert len(draw_tasks(dataset, eager, "paper", HELD_OUT, 4, 5, 50, 0)) == 4


def test_tasks_begin_in_the_world_of_their_episodes(tiny, tmp_path):
    """Factors of variation too: colours, and where the door is."""
    path = tmp_path / "varied.h5"
    collect(WORLD, path, 8, policy="expert", noise=2.0, frame_size=16, seed=0, vary="all")
    films = []
    with Dataset.open(path) as varied:
        tasks = draw_tasks(varied, WORLD, "paper", HELD_OUT, 12, 3, 0, 0)
        run_planner(Controller(build(tiny.model), tiny.planning, 0), WORLD, tasks, 16, 5, films.append)
        rows = varied.offsets[of(tasks, "episode")] + of(tasks, "step")
        np.testing.assert_array_equal(np.stack([film.frames[0] for film in films]), varied.frames(rows))
        np.testing.assert_array_equal(np.stack([film.goal for film in films]), varied.frames(rows + 3))
    factors = [task.start.factors for task in tasks.each]
    assert set(factors[0]) == set(WORLD.factors)
    assert len({str(one) for one in factors}) == len(set(of(tasks, "episode").tolist()))
    usual = [dataclasses.replace(task, start=dataclasses.replace(task.start, factors={})) for task in tasks.each]
    assert dataclasses.replace(tasks, each=tuple(usual)).sha256() != tasks.sha256()
