"""Collection in a small world of known contents. Run as a program, this file collects in it, to be killed."""

import dataclasses
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from gymnasium import spaces

from lewm_data.collection.collect import AHEAD, collect
from lewm_data.envs.registry import world
from lewm_data.errors import DataError
from lewm_data.store.dataset import Dataset

LONGEST = 40
SETTINGS = {"policy": "walk", "noise": 0.5, "frame_size": 24, "seed": 5}


class CountingEnv:
    """Episodes of 1 to 40 steps, as their seed says; a frame shows the state, which is the sum of actions."""

    def __init__(self, num_envs, frame_size, pixels, long_first=False):
        self.num_envs, self.frame_size, self.max_episode_steps = num_envs, frame_size, LONGEST
        self.single_observation_space = spaces.Dict()
        self.single_action_space = spaces.Box(-1, 1, (2,), np.float32)
        self.state = np.zeros((num_envs, 2))
        self.left = np.zeros(num_envs, np.int64)
        self.long_first, self.resets, self.closed = long_first, 0, False

    def observe(self):
        pixels = np.zeros((self.num_envs, self.frame_size, self.frame_size, 3), np.uint8)
        pixels[..., 0] = (self.state[:, :1, None] * 40).astype(np.int64) % 256
        pixels[..., 1] = self.left[:, None, None]
        return {"pixels": pixels, "state": self.state.copy(), "goal": -self.state}

    def reset(self, *, seed=None, options=None):
        for slot in np.flatnonzero(options["reset_mask"]):
            rng = np.random.default_rng(seed[slot])
            self.state[slot] = rng.normal(size=2)
            self.left[slot] = rng.integers(1, LONGEST, endpoint=True)
            if self.long_first:
                self.left[slot] = LONGEST if self.resets == 0 else 1
            self.resets += 1
        return self.observe(), {}

    def step(self, actions):
        assert (self.left > 0).all(), "an episode went on after its end"
        self.state = self.state + actions
        self.left -= 1
        ended = self.left == 0
        return self.observe(), self.state[:, 0].copy(), ended & (self.state[:, 1] > 0), ended, {}

    @property
    def observation(self):
        return self.observe()

    def set_state(self, state, goal=None):
        self.state = state

    def render(self):
        return tuple(self.observe()["pixels"])

    def render_goal(self):
        return self.observe()["pixels"]

    def is_solved(self):
        return self.left == 0

    def close(self):
        self.closed = True


class Walk:
    """The noise of every step is drawn from the episode's generator when the step comes."""

    def __init__(self, env, noise):
        self.noise, self.rngs = noise, [None] * env.num_envs

    def reset(self, slots, rngs):
        for slot, rng in zip(slots, rngs, strict=True):
            self.rngs[slot] = rng

    def act(self, observation):
        noise = np.array([rng.normal(size=2) for rng in self.rngs])
        return (np.sign(observation["goal"]) * 0.1 + self.noise * noise).astype(np.float32)


def counting_world(make=CountingEnv):
    return dataclasses.replace(
        world("two-room"),
        name="counting",
        gymnasium_id="test/Counting-v0",
        make=make,
        policies={"walk": Walk, "other": Walk},
        default_repeat=0.0,
    )


def run(path, episodes, **changes):
    return collect(counting_world(), path, episodes, **{**SETTINGS, "num_envs": 4, **changes})


def contents(path):
    with h5py.File(path, "r") as file:
        attributes = {name: np.asarray(value).tolist() for name, value in file.attrs.items()}
        return {name: file[name][:] for name in file}, attributes


def assert_same_file(one, other):
    (columns, attributes), (expected, expected_attributes) = contents(one), contents(other)
    assert attributes == expected_attributes
    assert columns.keys() == expected.keys()
    for name in expected:
        assert columns[name].dtype == expected[name].dtype
        np.testing.assert_array_equal(columns[name], expected[name], err_msg=name)


def test_a_row_is_a_frame_and_the_action_taken_from_it(tmp_path):
    report = run(tmp_path / "a.h5", 6)
    with Dataset.open(tmp_path / "a.h5") as dataset:
        assert (report.episodes, report.new_episodes) == (6, 6)
        assert report.frames == report.new_frames == dataset.num_steps
        assert dataset.columns == (
            "action", "episode_idx", "goal", "pixels", "reward", "state", "step_idx"
        )  # fmt: skip
        for index in range(6):
            episode = dataset.episode(index)
            state, action = episode["state"], episode["action"]
            assert state.dtype == np.float64
            np.testing.assert_allclose(state[1:], state[:-1] + action[:-1])
            assert np.isnan(action[-1]).all()
            np.testing.assert_array_equal(episode["reward"][:-1], state[1:, 0].astype(np.float32))
            assert episode["reward"][-1] == 0
            np.testing.assert_array_equal(episode["goal"], -state)
            np.testing.assert_array_equal(episode["pixels"][:, 0, 0, 0], (state[:, 0] * 40).astype(int) % 256)
            assert episode["pixels"][-1, 0, 0, 1] == 0  # the frame after the last action is there
            assert (episode["episode_idx"] == index).all()
            assert episode["step_idx"].tolist() == list(range(len(state)))
        assert dataset.attributes == {
            "format_version": 1,
            "env": "counting",
            "env_id": "test/Counting-v0",
            "frame_size": 24,
            "policy": "walk",
            "noise": 0.5,
            "repeat": 0.0,
            "vary": "",
            "seed": 5,
            "action_low": [-1.0, -1.0],
            "action_high": [1.0, 1.0],
        }


@pytest.mark.parametrize("num_envs", [1, 2, 7, 40])
def test_the_file_does_not_depend_on_the_number_of_environments(tmp_path, num_envs):
    run(tmp_path / "a.h5", 23)
    run(tmp_path / "b.h5", 23, num_envs=num_envs)
    assert_same_file(tmp_path / "b.h5", tmp_path / "a.h5")
    run(tmp_path / "c.h5", 23, seed=6)
    assert contents(tmp_path / "c.h5")[0]["ep_len"].tolist() != contents(tmp_path / "a.h5")[0]["ep_len"].tolist()


@pytest.mark.parametrize("name", ["two-room", "CartPole-v1"])
def test_episodes_are_cut_where_they_are_asked_to_be(tmp_path, name):
    place = world(name)
    # What is repeated is drawn after all actions that an episode may have, so it depends on how many these are
    settings = {"policy": "random", "noise": 0.0, "repeat": 0.0, "frame_size": 16, "seed": 0}
    own, cut, long = tmp_path / "own.h5", tmp_path / "cut.h5", tmp_path / "long.h5"
    collect(place, own, 4, **settings)
    collect(place, cut, 4, max_steps=7, **settings)
    collect(place, long, 4, max_steps=300, **settings)
    with Dataset.open(own) as usual, Dataset.open(cut) as short, Dataset.open(long) as other:
        assert short.lengths.max() == 8
        assert short.attributes["max_steps"] == 7
        assert "max_steps" not in usual.attributes
        np.testing.assert_array_equal(short.episode(2)["pixels"], usual.episode(2)["pixels"][: short.lengths[2]])
        if name == "two-room":
            assert other.lengths.max() > usual.lengths.max()
    with pytest.raises(DataError, match="was collected with max_steps 7, asked to append with max_steps None"):
        collect(place, cut, 5, mode="append", **settings)
    with pytest.raises(DataError, match="at most 0 steps"):
        collect(place, tmp_path / "none.h5", 1, max_steps=0, **settings)


def test_append_completes_a_shorter_file(tmp_path):
    run(tmp_path / "whole.h5", 12, commit="abc")
    run(tmp_path / "a.h5", 5, commit="abc")
    report = run(tmp_path / "a.h5", 12, mode="append", num_envs=3)
    assert (report.episodes, report.new_episodes) == (12, 7)
    assert_same_file(tmp_path / "a.h5", tmp_path / "whole.h5")
    assert run(tmp_path / "a.h5", 12, mode="append").new_episodes == 0
    run(tmp_path / "new.h5", 12, mode="append", commit="abc")  # nothing was there
    assert_same_file(tmp_path / "new.h5", tmp_path / "whole.h5")


@pytest.mark.parametrize(
    ("name", "value"),
    [("policy", "other"), ("noise", 0.6), ("frame_size", 25), ("seed", 6), ("repeat", 0.5), ("max_steps", 3)],
)
def test_append_refuses_other_settings(tmp_path, name, value):
    run(tmp_path / "a.h5", 2)
    before = contents(tmp_path / "a.h5")[0]["ep_len"].tolist()
    expected = rf"a\.h5: was collected with {name} .*asked to append with {name} {value}\n"
    with pytest.raises(DataError, match=expected):
        run(tmp_path / "a.h5", 4, mode="append", **{name: value})
    assert contents(tmp_path / "a.h5")[0]["ep_len"].tolist() == before


def test_create_refuses_and_overwrite_replaces(tmp_path):
    run(tmp_path / "a.h5", 3)
    with pytest.raises(DataError, match=r"exists already\nContinue it with --append, or replace it"):
        run(tmp_path / "a.h5", 3)
    with pytest.raises(DataError, match='unknown policy of counting "wlak"\nDid you mean "walk"'):
        run(tmp_path / "a.h5", 3, mode="overwrite", policy="wlak")
    with Dataset.open(tmp_path / "a.h5") as dataset:
        assert dataset.num_episodes == 3
    run(tmp_path / "a.h5", 2, mode="overwrite", seed=9)
    with Dataset.open(tmp_path / "a.h5") as dataset:
        assert (dataset.num_episodes, dataset.attributes["seed"]) == (2, 9)


def test_workers_are_one_a_core_where_the_world_gains_from_them(tmp_path, monkeypatch):
    asked = []

    class AskedError(Exception):
        pass

    def pool(world, settings, workers):
        asked.append(workers)
        raise AskedError

    monkeypatch.setattr("lewm_data.collection.collect.Pool", pool)
    monkeypatch.setattr("lewm_data.collection.collect.cores", lambda: 6)
    slow = dataclasses.replace(counting_world(), workers=True)
    for episodes, workers in ((20, None), (4, None), (20, 3)):
        with pytest.raises(AskedError):
            collect(slow, tmp_path / "a.h5", episodes, **SETTINGS, workers=workers)
    assert asked == [6, 4, 3]  # never more than episodes
    for place, num_envs in ((slow, 2), (counting_world(), None)):
        collect(place, tmp_path / "a.h5", 4, **SETTINGS, num_envs=num_envs, workers=None, mode="overwrite")


def test_progress_is_reported_for_every_episode(tmp_path):
    seen = []
    run(tmp_path / "a.h5", 5, on_progress=seen.append)
    assert [progress.episodes for progress in seen] == [1, 2, 3, 4, 5]
    assert {progress.total for progress in seen} == {5}
    lengths = contents(tmp_path / "a.h5")[0]["ep_len"]
    assert [progress.frames for progress in seen] == np.cumsum(lengths).tolist()
    assert all(progress.frames_per_second > 0 for progress in seen)


def test_few_episodes_wait_in_memory_for_a_long_one(tmp_path):
    envs = []

    def make(num_envs, frame_size, pixels):
        envs.append(CountingEnv(num_envs, frame_size, pixels, long_first=True))
        return envs[0]

    began = []

    def note(progress):
        began.append(envs[0].resets)

    collect(counting_world(make), tmp_path / "a.h5", 60, **SETTINGS, num_envs=2, on_progress=note)
    with Dataset.open(tmp_path / "a.h5") as dataset:
        assert dataset.lengths.tolist() == [LONGEST + 1] + [2] * 59
    waited = sum(episodes == began[0] for episodes in began)
    assert waited <= AHEAD * 2  # all that were finished when the long one ended
    assert envs[0].closed


def test_interrupted_by_the_user(tmp_path):
    class Interrupted(CountingEnv):
        def step(self, actions):
            if self.resets == 9:
                os.kill(os.getpid(), signal.SIGINT)
            return super().step(actions)

    run(tmp_path / "whole.h5", 15)
    path = tmp_path / "a.h5"
    with pytest.raises(KeyboardInterrupt):
        collect(counting_world(Interrupted), path, 15, **SETTINGS, num_envs=3)
    with h5py.File(path, "r") as file:  # opens like any file: it was closed
        assert 1 <= len(file["ep_len"]) < 9
    assert [file.name for file in tmp_path.glob("*a.h5*")] == ["a.h5"]
    run(path, 15, mode="append")
    assert_same_file(path, tmp_path / "whole.h5")


def test_killed_again_and_again(tmp_path):
    """SIGKILL at random moments, of the first collection and of those that append to what it left."""
    run(tmp_path / "whole.h5", 300)
    with Dataset.open(tmp_path / "whole.h5") as whole:
        lengths = whole.lengths
        expected = {name: whole.column(name) for name in whole.columns if name != "pixels"}
        pixels = whole.frames(np.arange(whole.num_steps))
    path, rng, kept, killed = tmp_path / "a.h5", random.Random(0), 0, 0
    for _ in range(6):
        child = subprocess.Popen(
            [sys.executable, __file__, str(path), "300"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        child.stdout.readline()  # it is about to open the file
        time.sleep(rng.uniform(0, 0.25))
        child.send_signal(signal.SIGKILL)
        errors = child.communicate()[1]
        assert child.returncode in (-signal.SIGKILL, 0), errors.decode()
        killed += child.returncode != 0
        if not path.exists():
            continue
        with Dataset.open(path) as dataset:
            assert dataset.num_episodes >= kept
            kept, steps = dataset.num_episodes, dataset.num_steps
            assert dataset.lengths.tolist() == lengths[:kept].tolist()
            for name, values in expected.items():
                np.testing.assert_array_equal(dataset.column(name), values[:steps])
            np.testing.assert_array_equal(dataset.frames(np.arange(steps)), pixels[:steps])
    assert killed >= 2
    run(path, 300, mode="append")
    assert_same_file(path, tmp_path / "whole.h5")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.h5", "whole.h5"]


def test_no_room_keeps_the_finished_episodes(tmp_path, monkeypatch):
    free = [10**9] * 4 + [0]
    usage = "lewm_data.disk.shutil.disk_usage"
    with monkeypatch.context() as full:
        full.setattr(usage, lambda _: SimpleNamespace(free=free.pop(0) if len(free) > 1 else free[0]))
        with pytest.raises(DataError, match=r"a\.h5: cannot be written: .* 0 free\n4 finished episodes are kept"):
            run(tmp_path / "a.h5", 9)
    run(tmp_path / "a.h5", 9, mode="append")
    run(tmp_path / "whole.h5", 9)
    assert_same_file(tmp_path / "a.h5", tmp_path / "whole.h5")


@pytest.mark.parametrize("changes", [{"episodes": 0}, {"num_envs": 0}, {"seed": -1}, {"seed": 2**64}])
def test_impossible_requests(tmp_path, changes):
    with pytest.raises(DataError, match="At least 1 episode"):
        run(tmp_path / "a.h5", **{"episodes": 2, **changes})


@pytest.mark.parametrize("changes", [{"episodes": 10**12}, {"num_envs": 10**9}, {"frame_size": 10**6}])
def test_requests_beyond_any_machine(tmp_path, changes):
    with pytest.raises(DataError, match=r"at most [\d,]+\nAsk for fewer"):
        run(tmp_path / "a.h5", **{"episodes": 2, **changes})


def test_two_room_is_the_same_for_any_number_of_environments(tmp_path):
    settings = {"policy": "expert", "noise": 2.0, "frame_size": 16, "seed": 0}
    for name, num_envs in (("a.h5", 4), ("b.h5", 1)):
        collect(world("two-room"), tmp_path / name, 5, **settings, num_envs=num_envs)
    assert_same_file(tmp_path / "a.h5", tmp_path / "b.h5")
    with Dataset.open(tmp_path / "a.h5") as dataset:
        env = world("two-room").make(1, 16, True)
        for row in (0, dataset.num_steps // 2):  # every step can be restored
            env.reset(seed=0)
            env.set_state(dataset.column("state")[row : row + 1])
            observation, *_ = env.step(dataset.column("action")[row : row + 1])
            np.testing.assert_array_equal(observation["pixels"][0], dataset.frames(np.array([row + 1]))[0])


if __name__ == "__main__":
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    run(Path(sys.argv[1]), int(sys.argv[2]), mode="append")
