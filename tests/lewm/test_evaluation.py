"""Tasks are what their protocol says, and a report is what happened."""

import dataclasses
import json
import re
import sys

import numpy as np
import pytest
import torch

from lewm.config import resolve
from lewm.decoding.panels import BORDER
from lewm.errors import LewmError
from lewm.evaluation import agents
from lewm.evaluation import command as evaluation
from lewm.evaluation.agents import random_floor, run_planner
from lewm.evaluation.command import FromDataset, PlanRequest, evaluate_run, fitting_batch
from lewm.evaluation.episodes import Film, Played
from lewm.evaluation.film import HOLD, compose, film_writer
from lewm.evaluation.from_dataset import draw_tasks
from lewm.evaluation.report import LatentDistance, Outcome, Success
from lewm.model import build
from lewm.planning.controller import Controller
from lewm.planning.plan import Plan
from lewm.report_files import read_report
from lewm.training.loop import train
from lewm_data.collection.collect import collect
from lewm_data.envs.registry import world
from lewm_data.envs.two_room import TwoRoomVectorEnv
from lewm_data.store.clips import split_episodes
from lewm_data.store.dataset import Dataset

CPU = torch.device("cpu")
WORLD = world("two-room")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "two-room.h5"
    collect(WORLD, path, 20, policy="expert", noise=2.0, frame_size=16, seed=0, num_envs=20)
    return path


@pytest.fixture(scope="module")
def dataset(data):
    with Dataset.open(data) as opened:
        yield opened


@pytest.fixture(scope="module")
def trained(tiny, data, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "tiny"
    train(tiny, data, out, CPU)
    return out


HELD_OUT = np.array([3, 7, 11])


def draw(dataset, protocol="held-out", count=20, goal_offset=25, seed=0):
    return draw_tasks(dataset, WORLD, protocol, HELD_OUT, count, goal_offset, 50, seed)


def of(tasks, name):
    """One property of all tasks, concatenated."""
    return np.stack([getattr(task if hasattr(task, name) else task.start, name) for task in tasks.each])


def request(run, tiny, protocol="held-out", data=None, episodes=5, **changes):
    return PlanRequest(run, FromDataset(data, protocol, episodes, tiny.evaluation), tiny.planning, 0, **changes)


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
    with pytest.raises(LewmError, match=r"(\d+) different held-out tasks .* and \d+ of their \d+ starts") as caught:
        draw(dataset, count=10_000)
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


@pytest.fixture
def awake(tiny):
    torch.manual_seed(0)
    model = build(tiny.model)
    for block in model.predictor.blocks:
        torch.nn.init.normal_(block.modulation.weight, std=0.3)
    model.action_mean.fill_(0.5)
    model.action_std.fill_(0.3)
    return model.eval()


def test_outcomes_do_not_depend_on_the_batch(dataset, tiny, awake):
    controller = Controller(awake, tiny.planning, seed=3)
    tasks = draw(dataset, count=6)
    films = {batch: [] for batch in (1, 4, 6)}
    for batch, kept in films.items():
        run_planner(controller, WORLD, tasks, 16, batch, kept.append)
    for batch in (1, 4):
        for one, other in zip(films[batch], films[6], strict=True):
            assert np.array_equal(one.frames, other.frames)


class Recorded(Controller):
    """Remembers the plans of each episode."""

    def plan(self, context, goals, episodes, *about):
        plan = super().plan(context, goals, episodes, *about)
        for episode, now, blocks in zip(episodes.tolist(), context.latents, plan.actions, strict=True):
            recorded.setdefault(episode, []).append((now, blocks))
        return plan


recorded: dict = {}


def shades(latents):
    """Stands for a decoder: what is in the latents, as frames."""
    values = (latents[:, :3] * 100 + 128).clamp(0, 255).round().to(torch.uint8)
    return values[:, None, None].expand(-1, 4, 6, 3).numpy()


@pytest.mark.parametrize("execute", [1, 2])
def test_what_is_imagined_is_the_rollout_of_what_was_executed(dataset, tiny, awake, execute):
    recorded.clear()
    planning = tiny.planning.model_copy(update={"horizon": 3, "execute": execute})
    tasks = draw(dataset, count=5)
    plain, films = [], []
    run_planner(Controller(awake, planning, seed=3), WORLD, tasks, 16, 5, plain.append)
    run_planner(Recorded(awake, planning, seed=3), WORLD, tasks, 16, 3, films.append, decode=shades)
    for film, other in zip(films, plain, strict=True):
        assert other.imagined is None
        np.testing.assert_array_equal(film.frames, other.frames)
        assert len(film.imagined) == len(film.frames)
        step = 0
        for present, blocks in recorded[film.task]:
            with torch.inference_mode():
                assert torch.equal(present, awake.embed(torch.from_numpy(film.frames[[step]])))
                expected = shades(torch.cat([present, awake.rollout(present[None], blocks[None, None])[0, 0]]))
            if step == 0:
                np.testing.assert_array_equal(film.imagined[0], expected[0])
            steps = 5 * min(execute, len(blocks))
            for k, picture in enumerate(film.imagined[step + 1 : step + 1 + steps]):
                np.testing.assert_allclose(picture.astype(int), expected[1 + k // 5], atol=1)
            step += steps


def test_nothing_is_imagined_after_the_present_where_nothing_was_planned(dataset, tiny, awake):
    tasks = draw(dataset, "paper", count=60, goal_offset=1)
    films = []
    run_planner(Controller(awake, tiny.planning, seed=3), WORLD, tasks, 16, 60, films.append, decode=shades)
    solved_at_once = [film for film in films if len(film.frames) == 1]
    assert solved_at_once
    assert all(film.imagined.shape == (1, 4, 6, 3) for film in solved_at_once)


def test_imagining_without_a_decoder_is_refused_before_planning(tiny, trained, monkeypatch):
    monkeypatch.setattr(Controller, "plan", lambda *_: pytest.fail("planned"))
    with pytest.raises(LewmError, match=r'no decoder\.safetensors(?s:.)*"lewm decode --run'):
        evaluate_run(request(trained, tiny, video="mp4", imagine=True), CPU)


def test_report_has_every_key_and_is_written(tiny, trained, data):
    report, path = evaluate_run(request(trained, tiny, video="gif"), CPU)
    written = read_report(path)
    assert written == json.loads(json.dumps(report.as_dict()))
    success = ["success_rate", "successes", "episodes", "interval_95", "latent_distance"]
    keys = [
        "random",
        "success",
        "protocol",
        "goal_offset",
        "budget",
        "discarded_solved",
        "discarded_ended",
        "tasks_sha256",
    ]
    keys += ["tasks", "seconds_per_plan", "seconds_preparing", "planner", "checkpoint_sha256"]
    keys += ["head_sha256", "policy_sha256", "versions"]
    assert list(written) == [*success, *keys]
    assert list(written["random"]) == success
    assert written["latent_distance"] is None
    assert written["episodes"] == written["random"]["episodes"] == 5
    assert written["seconds_preparing"] == 0
    assert written["planner"]["precision"] == "fp32"
    assert written["planner"]["precision_reason"] == "chosen by default on cpu"
    assert len(list(path.with_suffix("").glob("episode-*.gif"))) == 5
    _, held_out = split_episodes(20, tiny.training.held_out, tiny.training.seed)
    with Dataset.open(data) as opened:
        tasks = draw_tasks(opened, WORLD, "held-out", held_out, 5, 25, 50, 0)
    assert written["tasks_sha256"] == tasks.sha256()


def test_random_actions_too_are_tried_in_batches(tiny, trained, monkeypatch):
    made = []
    begin = TwoRoomVectorEnv.__init__

    def counted(self, num_envs, *arguments, **named):
        made.append(num_envs)
        begin(self, num_envs, *arguments, **named)

    monkeypatch.setattr(TwoRoomVectorEnv, "__init__", counted)
    evaluate_run(request(trained, tiny, batch=2), CPU)
    assert made == [2, 2, 1] * 2


def test_held_out_needs_the_data_of_training(tiny, trained, tmp_path):
    other = tmp_path / "other.h5"
    collect(WORLD, other, 20, policy="expert", noise=2.0, frame_size=16, seed=5, num_envs=20)
    with pytest.raises(LewmError, match="what it held out is not known"):
        evaluate_run(request(trained, tiny, data=other), CPU)


def test_frames_of_another_size_than_in_training_are_refused(tiny, trained, tmp_path):
    larger = tmp_path / "larger.h5"
    collect(WORLD, larger, 4, policy="expert", noise=2.0, frame_size=32, seed=0, num_envs=4)
    with pytest.raises(LewmError, match="32 x 32 pixels, the run was trained on 16 x 16 pixels"):
        evaluate_run(request(trained, tiny, "paper", larger), CPU)


def test_a_model_of_another_size_than_its_data_is_shown_what_it_was_trained_on(tiny, data, tmp_path, monkeypatch):
    config = resolve(tiny, None, {"model.frame_size": 8})
    train(config, data, tmp_path / "run", CPU)
    seen = set()
    embed = Controller.embed
    monkeypatch.setattr(Controller, "embed", lambda self, frames: seen.add(frames.shape[1:]) or embed(self, frames))
    evaluate_run(request(tmp_path / "run", tiny, episodes=3), CPU)
    assert seen == {(16, 16, 3)}


def test_success_of_nothing_and_everything():
    nothing = np.zeros((0, 2))
    assert Success.of(Played(np.ones(10, dtype=bool), nothing, np.arange(10))).interval_95[1] == pytest.approx(1)
    assert Success.of(Played(np.zeros(10, dtype=bool), nothing, np.arange(10))).success_rate == 0


def test_where_success_is_not_known_there_are_distances():
    success = Success.of(Played(None, np.array([[3.0, 1.0], [5.0, 2.0]]), np.array([3, 4])))
    assert (success.success_rate, success.successes, success.interval_95) == (None, None, None)
    assert success.episodes == 2
    assert (success.latent_distance.start, success.latent_distance.end) == (4.0, 1.5)
    assert Outcome.each(Played(None, np.array([[3.0, 1.0], [5.0, 2.0]]), np.array([3, 4]))) == [
        Outcome(None, 3, LatentDistance(3.0, 1.0)),
        Outcome(None, 4, LatentDistance(5.0, 2.0)),
    ]


def test_automatic_batch_keeps_every_frame_in_an_eighth_of_the_memory(monkeypatch):
    monkeypatch.setattr(evaluation, "physical_memory", lambda device: 8 * 10 * (51 * 64 * 64 * 3))
    assert fitting_batch(WORLD, 64, 50) == 10
    assert fitting_batch(WORLD, 64, 51) == 9
    assert fitting_batch(WORLD, 64, 100_000) == 1


def test_simulators_are_few_whatever_the_memory(monkeypatch):
    monkeypatch.setattr(evaluation, "physical_memory", lambda device: 10**12)
    assert fitting_batch(WORLD, 16, 50) > 10_000
    assert fitting_batch(world("reacher"), 16, 50) == fitting_batch(world("CartPole-v1"), 16, 50) == 50


def test_videos_say_what_to_install_before_anything_is_planned(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ValueError, match=r'pip install -e "\.\[video\]"'):
        film_writer(tmp_path / "films", "mp4")
    assert not list(tmp_path.iterdir())


def test_films_show_the_episode_beside_the_goal(tmp_path):
    frames = np.zeros((3, 128, 128, 3), np.uint8)
    frames[2] = 9
    goal = np.full((128, 128, 3), 77, np.uint8)
    for solved in (True, False, None):
        film = compose(Film(0, frames, goal, solved))
        assert film.shape == (2 + HOLD, 256 + 2 * BORDER, 2 * (256 + 2 * BORDER), 3)
        assert (film[0, BORDER:-BORDER, BORDER : BORDER + 256] == 0).all()
        assert (film[-1, BORDER:-BORDER, BORDER : BORDER + 256] == 9).all()
        assert (film[:, BORDER:-BORDER, -BORDER - 256 : -BORDER] == 77).all()
        red, green, _ = film[-1, 0, 0].astype(int)
        assert np.sign(green - red) == {True: 1, False: -1, None: 0}[solved]
    imagined = np.full((3, 64, 64, 3), 33, np.uint8)
    film = compose(Film(0, frames, goal, True, imagined))
    assert film.shape == (2 + HOLD, 256 + 2 * BORDER, 3 * (256 + 2 * BORDER), 3)
    middle = film[:, BORDER:-BORDER, 256 + 3 * BORDER : 2 * 256 + 3 * BORDER]
    assert (middle == 33).all()
    assert (film[:, BORDER:-BORDER, -BORDER - 256 : -BORDER] == 77).all()
    film_writer(tmp_path / "films", "mp4")(Film(4, frames, goal, True))
    assert [file.name for file in (tmp_path / "films").iterdir()] == ["episode-0004.mp4"]
