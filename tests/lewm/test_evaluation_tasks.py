"""Tasks in worlds that are replayed, tasks that the environment gives, goals in a picture, and files of tasks."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import image

from lewm import recipes
from lewm.config import resolve
from lewm.errors import LewmError
from lewm.evaluation.actors import random_floor
from lewm.evaluation.agents import run_planner
from lewm.evaluation.episodes import run_episodes
from lewm.evaluation.from_dataset import draw_tasks
from lewm.evaluation.from_env import SMALLEST, draw_from_env, read_goal
from lewm.evaluation.manifest import read_tasks, write_tasks
from lewm.evaluation.tasks import Replayed
from lewm.model import build
from lewm.planning.controller import Controller
from lewm.world_states import states_of
from lewm_data.collection.collect import collect
from lewm_data.envs.judgement import BY_STATES
from lewm_data.envs.registry import world
from lewm_data.store.dataset import Dataset
from lewm_data.store.writer import Writer

TWO_ROOM = world("two-room")
EVERY = np.arange(8)
FAST = np.array([0, 1, 0, 0, 1], np.float32)


@pytest.fixture(autouse=True)
def package(monkeypatch):
    """The tests' own environments can be imported."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "data" / "envs"))


def lane(kind=""):
    return world(f"gymnasium_package:Lane{kind}-v0")


@pytest.fixture
def recorded(tmp_path):
    """A function that opens eight episodes of a kind of Lane, random actions."""
    opened = []

    def record(kind=""):
        path = tmp_path / f"lane{kind}.h5"
        collect(lane(kind), path, 8, policy="random", noise=0.0, frame_size=16, seed=0)
        opened.append(Dataset.open(path))
        return opened[-1]

    yield record
    for dataset in opened:
        dataset.close()


@pytest.fixture
def controller(tiny):
    """Plans in Lane, knowing nothing of it."""
    small = {key: value for key, value in tiny.model_dump(by_alias=True).items() if key in ("model", "planning")}
    small["model"] = {**small["model"], "action_dim": 5}
    planner = {"kind": "cem", "samples": 8, "elites": 4, "iterations": 1}
    small["planning"] = {**small["planning"], "planner": planner, "horizon": 1}
    config = resolve(recipes.small("two-room", 5), None, small)
    torch.manual_seed(0)
    model = build(config.model)
    model.action_mean.fill_(0.5)
    model.action_std.fill_(0.5)
    return Controller(model.eval(), config.planning, 3, (3, 2))


def always_fast(first, env):
    return lambda active, step: np.tile(FAST, (len(active), 1, 1))


def no_distance(frames, goals):
    raise AssertionError("asked for distances")


def rows_of(dataset, tasks):
    return np.array([dataset.offsets[task.episode] + task.step for task in tasks.each])


def begun_solved(world, tasks):
    env = world.make(len(tasks), 16, False)
    tasks.begin(env, 0)
    solved = env.is_solved()
    env.close()
    return solved


def test_replayed_tasks_are_moments_of_the_episodes(recorded, controller):
    dataset = recorded()
    tasks = draw_tasks(dataset, lane(), "paper", EVERY, 7, 3, 0, 0)
    films = []
    run_planner(controller, lane(), tasks, 16, 4, films.append)
    rows = rows_of(dataset, tasks)
    assert len(set(rows.tolist())) == 7
    np.testing.assert_array_equal(np.stack([film.frames[0] for film in films]), dataset.frames(rows))
    np.testing.assert_array_equal(np.stack([film.goal for film in films]), dataset.frames(rows + 3))
    assert tasks.dataset == dataset.fingerprint()


def test_replayed_starts_that_count_as_solved_are_discarded_and_counted(recorded):
    dataset = recorded()
    some = np.array([1, 4, 6])
    tasks = draw_tasks(dataset, lane(), "held-out", some, 25, 1, 5, 0)
    assert {task.episode for task in tasks.each} <= set(some.tolist())
    states, rows = dataset.column("state"), rows_of(dataset, tasks)
    assert not lane().solved(states[rows], states[rows + 1]).any()
    every = np.concatenate([dataset.offsets[e] + np.arange(dataset.lengths[e] - 1) for e in some])
    solved = lane().solved(states[every], states[every + 1])
    assert 0 < tasks.discarded_solved <= solved.sum()
    asked = len(every)
    with pytest.raises(LewmError, match=f"{(~solved).sum()} different held-out tasks .* 1 steps ahead, {asked} asked"):
        draw_tasks(dataset, lane(), "held-out", some, asked, 1, 5, 0)


def test_an_environment_that_tells_of_success_is_asked_where_it_begins(recorded):
    dataset = recorded("Telling")
    tasks = draw_tasks(dataset, lane("Telling"), "held-out", EVERY, 10, 2, 5, 0)
    at_start = dataset.column("state")[rows_of(dataset, tasks)]
    assert (at_start[:, 1] >= 5).all()
    assert tasks.discarded_solved > 0
    assert not begun_solved(lane("Telling"), tasks).any()


def test_data_without_seeds_or_states_is_refused(recorded, tmp_path):
    episode = recorded().episode(0)
    for name, place in (("episode_seed", lane()), ("state", TWO_ROOM)):
        kept = {key: value for key, value in episode.items() if key != name and not key.startswith("ep")}
        with Writer.create(tmp_path / f"{name}.h5") as writer:
            writer.write_episode(kept)
        with Dataset.open(tmp_path / f"{name}.h5") as dataset, pytest.raises(LewmError, match=f"no column '{name}'"):
            draw_tasks(dataset, place, "paper", EVERY, 1, 1, 5, 0)


def test_states_in_parts_are_put_together(tmp_path):
    rng = np.random.default_rng(0)
    parts = {"qpos": rng.normal(size=(5, 2)), "qvel": rng.normal(size=(5, 2)).astype(np.float32)}
    reacher = world("reacher")
    frames = {"pixels": np.zeros((5, 16, 16, 3), np.uint8), "action": np.zeros((5, 2), np.float32)}
    with Writer.create(tmp_path / "parts.h5") as writer:
        writer.write_episode({**frames, **parts})
    with Dataset.open(tmp_path / "parts.h5") as dataset:
        states = states_of(dataset, reacher)
        np.testing.assert_array_equal(states, np.hstack(list(parts.values())))
        assert states_of(dataset, world("cube")) is None
        assert states_of(dataset, TWO_ROOM) is None
        tasks = draw_tasks(dataset, reacher, "paper", EVERY, 2, 3, 5, 0)
        for task in tasks.each:
            np.testing.assert_array_equal(task.start.state, states[task.step])
            np.testing.assert_array_equal(task.start.goal, states[task.step + 3])


def test_an_episode_that_ends_stays_as_it_is_and_is_not_acted_in(recorded):
    tasks = dataclasses.replace(draw_tasks(recorded(), lane(), "paper", EVERY, 6, 5, 40, 0), judgement=BY_STATES)
    films, asked = [], []

    def agent(first, env):
        act = always_fast(first, env)
        return lambda active, step: asked.append((step, len(active))) or act(active, step)

    played = run_episodes(lane(), tasks, 16, 6, agent, no_distance, films.append)
    lengths = [len(film.frames) for film in films]
    assert max(lengths) <= 12  # three to the right a step, and lost beyond 30
    for step, active in asked:
        assert active == sum(length > step + 1 for length in lengths)
    assert not played.solved.all()


def test_where_success_is_not_known_distances_are_measured(recorded, controller):
    place = lane("Pictures")
    tasks = draw_tasks(recorded("Pictures"), place, "held-out", EVERY, 5, 3, 6, 0)
    films = []
    played, _ = run_planner(controller, place, tasks, 16, 2, films.append)
    assert played.solved is None
    assert [film.solved for film in films] == [None] * 5
    goals = controller.embed(np.stack([film.goal for film in films]))
    for column, moment in enumerate((0, -1)):
        frames = controller.embed(np.stack([film.frames[moment] for film in films]))
        expected = (frames - goals).norm(dim=1).numpy()
        np.testing.assert_allclose(played.distance[:, column], expected, rtol=1e-4)
    assert (played.distance[:, 0] > 0).all()
    floor = random_floor(controller, place, tasks, 16, 5)
    np.testing.assert_allclose(floor.distance[:, 0], played.distance[:, 0], rtol=1e-4)
    assert (floor.distance[:, 1] != floor.distance[:, 0]).all()


def test_worlds_with_goals_give_their_own(tmp_path):
    tasks = draw_from_env(TWO_ROOM, 5, 25, 50, 7)
    assert (tasks.protocol, tasks.dataset, tasks.goal_offset, tasks.budget) == ("from-env", None, None, 50)
    assert [task.episode for task in tasks.each] == [0, 1, 2, 3, 4]
    for task in tasks.each:  # in the other room
        assert (task.start.state[0] < 0.5) != (task.start.goal[0] < 0.5)
    assert not begun_solved(TWO_ROOM, tasks).any()
    states = np.stack([task.start.state for task in tasks.each])
    assert len(np.unique(states, axis=0)) == 5
    first = draw_from_env(TWO_ROOM, 3, 25, 50, 7)
    for one, other in zip(first.each, tasks.each, strict=False):
        np.testing.assert_array_equal(one.start.state, other.start.state)
        np.testing.assert_array_equal(one.start.goal, other.start.goal)
    assert draw_from_env(TWO_ROOM, 5, 25, 50, 8).sha256() != tasks.sha256()
    collect(TWO_ROOM, tmp_path / "seen.h5", 5, policy="random", noise=0.0, frame_size=16, seed=7)
    with Dataset.open(tmp_path / "seen.h5") as dataset:
        assert not (dataset.column("state")[dataset.offsets][:, None] == states).all(axis=-1).any()


def test_replayed_worlds_give_moments_that_random_actions_reach():
    tasks = draw_from_env(lane(), 6, 14, 20, 0)
    assert tasks.goal_offset == 14
    assert tasks.discarded_ended == max(task.episode for task in tasks.each) + 1 - 6 - tasks.discarded_solved
    assert tasks.discarded_ended > 0
    env = lane().make(1, 16, False)
    for task in tasks.each:
        start = task.start
        assert (start.actions.shape, start.goal_actions.shape) == ((0, 5), (14, 5))
        env.replay([start.seed], [start.actions], [start.actions])
        ended = [bool(env.step(action[None])[2][0]) for action in start.goal_actions]
        assert not any(ended[:-1])
        drawn = np.random.default_rng([0, task.episode]).uniform(size=(14, 5)).astype(np.float32)
        assert not np.isin(start.goal_actions, drawn).any(), "what the random agent will do"
    env.close()
    near = draw_from_env(lane(), 12, 1, 20, 0)
    assert near.discarded_solved > 0
    assert not begun_solved(lane(), near).any()
    with pytest.raises(LewmError, match=r"0 tasks in 100 draws, 1 asked for: 100 episodes ended .* 24 steps ahead"):
        draw_from_env(lane(), 1, 24, 20, 0)


def test_a_goal_picture_is_reached_in_no_way_that_is_known(tiny):
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    tasks = draw_from_env(TWO_ROOM, 3, 25, 12, 0, picture)
    assert (tasks.protocol, tasks.goal_offset, tasks.solvable) == ("goal-picture", None, False)
    films = []
    torch.manual_seed(0)
    model = build(tiny.model)
    model.action_std.fill_(1)
    model.action_mean.fill_(0)
    played, _ = run_planner(Controller(model.eval(), tiny.planning, 0), TWO_ROOM, tasks, 16, 2, films.append)
    assert played.solved is None
    assert played.distance.shape == (3, 2)
    assert all(np.array_equal(film.goal, picture) and len(film.frames) == 13 for film in films)
    other = draw_from_env(TWO_ROOM, 3, 25, 12, 0, 255 - picture)
    assert other.sha256() != tasks.sha256()


def test_tasks_with_a_picture_go_on_beyond_the_environments_own_goal():
    tasks = draw_from_env(TWO_ROOM, 2, 25, 12, 0, np.zeros((16, 16, 3), np.uint8))
    here = [
        dataclasses.replace(task, start=dataclasses.replace(task.start, goal=task.start.state)) for task in tasks.each
    ]
    films = []

    def stay(first, env):
        return lambda active, step: np.zeros((len(active), 1, 2), np.float32)

    def measured(frames, goals):
        return np.ones(len(frames))

    run_episodes(TWO_ROOM, dataclasses.replace(tasks, each=tuple(here)), 16, 2, stay, measured, films.append)
    assert [len(film.frames) for film in films] == [13, 13]


def test_with_a_picture_success_is_known_where_the_environment_tells():
    picture = np.zeros((16, 16, 3), np.uint8)
    tasks = draw_from_env(lane("Telling"), 6, 5, 10, 0, picture)
    assert tasks.solvable
    assert tasks.discarded_solved > 0
    assert not begun_solved(lane("Telling"), tasks).any()
    assert all(len(task.start.goal_actions) == 0 for task in tasks.each)
    silent = draw_from_env(lane(), 6, 5, 10, 0, picture)
    assert (silent.solvable, silent.discarded_solved) == (False, 0)


def test_pictures_become_frames(tmp_path):
    frame = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    image.imsave(tmp_path / "same.png", frame)
    np.testing.assert_array_equal(read_goal(tmp_path / "same.png", 16, "stretch"), frame)
    halves = np.zeros((30, 50, 3), np.uint8)
    halves[:, 25:] = 255, 0, 0
    for name in ("halves.png", "halves.jpg"):
        image.imsave(tmp_path / name, halves)
        seen = read_goal(tmp_path / name, 16, "stretch").astype(int)
        assert (abs(seen[:, :6] - 0) < 12).all()
        assert (abs(seen[:, 10:] - [255, 0, 0]) < 12).all()


def test_pictures_that_are_none_or_too_small_are_refused(tmp_path):
    image.imsave(tmp_path / "small.png", np.zeros((SMALLEST - 1, 40, 3), np.uint8))
    (tmp_path / "text.png").write_text("not a picture")
    for name, problem in (
        ("small.png", "40 x 7 pixels, expected at least 8 a side"),
        ("text.png", "no PNG or JPEG picture that can be read"),
        ("missing.png", "No such file"),
        (".", "is a directory, expected a file"),
    ):
        with pytest.raises(LewmError, match=problem):
            read_goal(tmp_path / name, 16, "stretch")


def varied(tmp_path):
    collect(TWO_ROOM, tmp_path / "varied.h5", 8, policy="expert", noise=2.0, frame_size=16, seed=0, vary="all")
    with Dataset.open(tmp_path / "varied.h5") as dataset:
        return TWO_ROOM, draw_tasks(dataset, TWO_ROOM, "held-out", EVERY, 9, 10, 30, 0)


def replayed(tmp_path):
    collect(lane(), tmp_path / "lane.h5", 8, policy="random", noise=0.0, frame_size=16, seed=0)
    with Dataset.open(tmp_path / "lane.h5") as dataset:
        return lane(), draw_tasks(dataset, lane(), "held-out", EVERY, 9, 3, 30, 0)


def boxed(tmp_path):
    return lane("Box"), draw_from_env(lane("Box"), 4, 3, 30, 0)


@pytest.mark.parametrize("made", [varied, replayed, boxed])
def test_a_file_of_tasks_is_read_back_exactly(made, tmp_path):
    place, tasks = made(tmp_path)
    write_tasks(tmp_path / "tasks.json", tasks)
    again = read_tasks(tmp_path / "tasks.json", place)
    for one, other in zip(tasks.each, again.each, strict=True):
        assert (one.episode, one.step) == (other.episode, other.step)
        for name, values in vars(one.start).items():
            read = getattr(other.start, name)
            if isinstance(values, np.ndarray):
                assert values.dtype == read.dtype
            np.testing.assert_array_equal(values, read)
    assert dataclasses.replace(again, each=()) == dataclasses.replace(tasks, each=())
    assert again.sha256() == tasks.sha256()
    stored = json.loads((tmp_path / "tasks.json").read_text())
    assert stored["sha256"] == tasks.sha256()
    assert len((tmp_path / "tasks.json").read_text().splitlines()) == len(tasks) + 13
    write_tasks(tmp_path / "again.json", again)
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "tasks.json").read_bytes()


def test_the_hash_covers_everything_that_is_asked(tmp_path):
    _, tasks = replayed(tmp_path)
    changed = [dataclasses.replace(tasks, budget=31), dataclasses.replace(tasks, goal_offset=4)]
    start = tasks.each[0].start
    assert isinstance(start, Replayed)
    other = Replayed(start.seed, start.actions, start.goal_actions[::-1])
    for one in (dataclasses.replace(start, seed=start.seed + 1), other):
        first = dataclasses.replace(tasks.each[0], start=one)
        changed.append(dataclasses.replace(tasks, each=(first, *tasks.each[1:])))
    assert len({one.sha256() for one in [tasks, *changed]}) == 5
