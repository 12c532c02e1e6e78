"""Collection by worker processes: the same file, whatever becomes of the workers."""

import dataclasses
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lewm_data.collection.collect import collect
from lewm_data.collection.episodes import Settings
from lewm_data.collection.pool import ATTEMPTS, TASKS, Pool
from lewm_data.collection.worker import discard, hand_over, take
from lewm_data.envs.registry import world
from lewm_data.errors import DataError
from lewm_data.store.dataset import Dataset

SHARED_MEMORY = Path("/dev/shm")
SETTINGS = {"policy": "expert", "noise": 2.0, "frame_size": 16, "seed": 4}

POLICIES = '''
"""Policies as a user might write them."""

import os
import signal
import sys
from pathlib import Path

from lewm_data.errors import DataError
from lewm_data.policies import RandomPolicy

MARK = Path(__file__).with_name("died")


class Within(RandomPolicy):
    """Random, and sure that no worker knows HDF5."""

    def act(self, observation):
        assert "h5py" not in sys.modules, "a worker imported h5py"
        return super().act(observation)


class DiesOnce(RandomPolicy):
    def act(self, observation):
        if not MARK.exists():
            MARK.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().act(observation)


class DiesInTheThird(RandomPolicy):
    def reset(self, slots, rngs):
        with MARK.open("a") as mark:
            mark.write("+")
        if MARK.stat().st_size > 2:
            os.kill(os.getpid(), signal.SIGKILL)
        super().reset(slots, rngs)


class Fails(RandomPolicy):
    def act(self, observation):
        if self.noise == 1:
            raise DataError("too much noise", "Have less.")
        return 1 / 0


def within(env, noise):
    return Within(env) if "pytest" not in sys.modules else RandomPolicy(env)


def dies_once(env, noise):
    return DiesOnce(env)


def dies_in_the_third(env, noise):
    return DiesInTheThird(env)


def fails(env, noise):
    policy = Fails(env)
    policy.noise = noise
    return policy
'''


@pytest.fixture
def users(tmp_path, monkeypatch):
    """A module of the user's, which workers find too."""
    (tmp_path / "users").mkdir()
    (tmp_path / "users" / "my_policies.py").write_text(POLICIES)
    monkeypatch.syspath_prepend(str(tmp_path / "users"))
    yield
    sys.modules.pop("my_policies", None)


def run(path, episodes, **changes):
    return collect(world("two-room"), path, episodes, **{**SETTINGS, **changes})


def blocks(pid=None):
    """The blocks of a program, by default this one: another may collect at the same time."""
    return [block.name for block in SHARED_MEMORY.glob(f"lewm-{pid or os.getpid()}-*")]


@pytest.mark.usefixtures("users")
def test_the_file_does_not_depend_on_the_number_of_workers(tmp_path):
    settings = {"policy": "expert:2,smooth,my_policies:within", "vary": "agent.color,door.position"}
    run(tmp_path / "whole.h5", 9, **settings)
    for workers in (1, 3):
        most = []
        path = tmp_path / f"{workers}.h5"
        report = run(path, 9, **settings, workers=workers, on_progress=lambda _, most=most: most.append(len(blocks())))
        assert path.read_bytes() == (tmp_path / "whole.h5").read_bytes()
        assert max(most) <= TASKS * workers
        assert not blocks()
        assert report.new_episodes == 9
        assert report.stepping_seconds > 0
        assert report.acting_seconds > 0
    assert not multiprocessing.active_children()


def test_workers_that_are_killed_leave_no_trace(tmp_path):
    run(tmp_path / "whole.h5", 12)
    killed = []

    def kill(progress):
        children = multiprocessing.active_children()
        if progress.episodes == 3:
            killed.extend(children)
        elif progress.episodes == 7:
            killed.extend(children[:1])
        else:
            return
        for child in killed:
            child.kill()

    run(tmp_path / "a.h5", 12, workers=2, on_progress=kill)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert not blocks()
    assert len(killed) >= 2
    assert {child.exitcode for child in killed} == {-signal.SIGKILL}


@pytest.mark.usefixtures("users")
def test_an_episode_in_which_a_worker_dies_is_played_again(tmp_path, caplog):
    run(tmp_path / "a.h5", 4, policy="my_policies:dies_once", workers=1)
    assert (tmp_path / "users" / "died").exists()
    assert "a worker was killed by SIGKILL in episode 0" in caplog.text
    run(tmp_path / "whole.h5", 4, policy="random")
    with Dataset.open(tmp_path / "a.h5") as one, Dataset.open(tmp_path / "whole.h5") as other:
        assert one.fingerprint() == other.fingerprint()


@pytest.mark.usefixtures("users")
def test_an_episode_that_kills_every_worker_is_named(tmp_path, caplog):
    expected = rf"episode 2 of seed 4: its worker was killed by SIGKILL, at each of {ATTEMPTS} attempts\n.*--workers"
    with pytest.raises(DataError, match=expected):
        run(tmp_path / "a.h5", 4, policy="my_policies:dies_in_the_third", workers=1)
    assert not blocks()
    with Dataset.open(tmp_path / "a.h5") as dataset:
        assert dataset.num_episodes == 2


@pytest.mark.usefixtures("users")
def test_what_goes_wrong_in_a_worker_is_said_with_its_traceback(tmp_path):
    with pytest.raises(
        DataError,
        match=r"episode 0 of seed 4: .*my_policies.py, line \d+, raised ZeroDivisionError: division by zero\nSet LEWM_",
    ) as one:
        run(tmp_path / "a.h5", 4, policy="my_policies:fails", workers=1)
    assert "return 1 / 0" in str(one.value.__cause__)
    with pytest.raises(DataError, match=r"^too much noise\nHave less\.$") as other:
        run(tmp_path / "a.h5", 4, policy="my_policies:fails", noise=1.0, workers=1)
    assert 'raise DataError("too much noise"' in str(other.value.__cause__)
    assert not (tmp_path / "a.h5").exists()


def test_interrupted_by_the_user(tmp_path):
    def interrupt(progress):
        if progress.episodes == 5:
            os.kill(os.getpid(), signal.SIGINT)

    run(tmp_path / "whole.h5", 40)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a.h5", 40, workers=2, on_progress=interrupt)
    assert not multiprocessing.active_children()
    assert not blocks()
    with Dataset.open(tmp_path / "a.h5") as dataset:
        assert 5 <= dataset.num_episodes < 40
        assert not dataset.interrupted
    run(tmp_path / "a.h5", 40, mode="append")
    with Dataset.open(tmp_path / "a.h5") as one, Dataset.open(tmp_path / "whole.h5") as other:
        assert one.fingerprint() == other.fingerprint()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_the_program_and_say_nothing(tmp_path, number):
    """Ctrl-C reaches every process of a terminal; a kill only the program, whose pipes the workers hold."""
    path = tmp_path / "a.h5"
    program = "from lewm_cli.main import main; main()"
    command = ["collect", "--episodes", "100000", "--frame-size", "16", "--workers", "2", "--out", str(path)]
    child = subprocess.Popen(
        [sys.executable, "-c", program, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not path.exists():
        assert child.poll() is None
        time.sleep(0.02)
    if number == signal.SIGINT:
        os.killpg(child.pid, number)
    else:
        child.kill()
    _, errors = child.communicate()  # returns when the last process that holds the pipes has ended
    assert "Traceback" not in errors
    if number == signal.SIGINT:
        assert child.returncode == 130
    with Dataset.open(path) as dataset:
        assert dataset.num_episodes >= 1
    for name in blocks(child.pid):
        discard(name)  # the resource tracker of a killed program removes it a moment later


def test_columns_go_through_shared_memory_unchanged():
    columns = {
        "pixels": np.random.default_rng(0).integers(0, 256, (7, 5, 5, 3), np.uint8),
        "near": np.array([True, False] * 3 + [True]),
        "state": np.random.default_rng(1).normal(size=(7, 3)),
        "quadrant": np.arange(7, dtype=np.int32),
    }
    block = f"lewm-{os.getpid()}-test"
    taken = take(block, hand_over(columns, block))
    assert list(taken) == list(columns)
    for name, values in columns.items():
        assert taken[name].dtype == values.dtype
        np.testing.assert_array_equal(taken[name], values)
    assert not blocks()


@pytest.mark.skipif(not SHARED_MEMORY.is_dir(), reason="shared memory is no directory here")
def test_shared_memory_that_is_full_is_said_before_it_is_written(monkeypatch):
    monkeypatch.setattr("lewm_data.disk.shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    block = f"lewm-{os.getpid()}-full"
    with pytest.raises(DataError, match=r"/dev/shm: no room for an episode of 1 MB: .*1000 free\nUse fewer --workers"):
        hand_over({"pixels": np.zeros((1, 600, 600, 3), np.uint8)}, block)
    discard(block)
    assert not blocks()


def test_workers_must_know_the_world():
    ours = dataclasses.replace(world("two-room"), default_noise=1.0)
    with pytest.raises(DataError, match="two-room is not the world that workers know"):
        Pool(ours, Settings("expert", 2.0, 0.0, (), 16, 0), 1)
