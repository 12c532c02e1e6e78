"""Cameras that simulators share, and what goes against physics in Reacher."""

import gc
import importlib.util
import sys

import numpy as np
import pytest

from lewm_data.collection.record_episodes import record
from lewm_data.envs.general_perturbations import TOLD_STEPS
from lewm_data.envs.mujoco.camera import import_mujoco
from lewm_data.envs.reacher import perturbations
from lewm_data.envs.reacher.definition import REACHER
from lewm_data.envs.reacher.task import path_distance
from lewm_data.envs.simulator_perturbations import COLOR_DISTANCE, played_on
from lewm_data.errors import DataError

try:
    from lewm_data.envs.reacher.simulator import ReacherSimulator, reacher_model
except DataError as error:  # MuJoCo or what it draws with is missing
    pytest.skip(str(error), allow_module_level=True)

SIZE, STEPS, ONSET = 32, 30, 12


def simulator(seed, factors=None, size=SIZE):
    made = ReacherSimulator(size)
    made.reset(np.random.default_rng(seed), factors or {})
    return made


@pytest.fixture(scope="module")
def episode():
    (recorded,) = record(REACHER, [3], SIZE, STEPS)
    return recorded


def test_simulators_that_share_a_camera_do_not_see_each_other_s_worlds():
    looks = [{}, {"floor.color": (90, 20, 20)}, {"floor.color": (20, 90, 20), "agent.color": (255, 255, 255)}]
    alone = []
    for seed, look in enumerate(looks):
        one = simulator(seed, look)
        alone.append(one.render())
        one.close()
    together = [simulator(seed, look) for seed, look in enumerate(looks)]
    for _ in range(2):
        for one, frame in zip(together, alone, strict=True):
            assert np.array_equal(one.render(), frame)
    assert len({id(one.camera()) for one in together}) == 1


def test_cameras_of_two_sizes_live_and_die_apart():
    small, large = simulator(0), simulator(0, size=48)
    frame, larger = small.render(), large.render()
    assert larger.shape == (48, 48, 3)
    assert np.array_equal(small.render(), frame)
    large.close()
    del large
    gc.collect()
    assert np.array_equal(small.render(), frame)
    small.close()
    gc.collect()
    assert np.array_equal(small.render(), frame)  # with a new one


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(DataError, match=r'MuJoCo, which is not installed\nRun .*: pip install -e "\.\[mujoco\]"'):
        import_mujoco()
    monkeypatch.undo()

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="dm_control, which is not installed"):
        reacher_model.__wrapped__()
    monkeypatch.undo()

    def refuse(width, height):
        raise RuntimeError("no such device")

    monkeypatch.setattr(import_mujoco(), "GLContext", refuse)
    with pytest.raises(DataError, match=r"MuJoCo cannot draw: no such device; MUJOCO_GL is .*\nSet MUJOCO_GL to egl"):
        simulator(0, size=40).render()


def test_a_recorded_episode_replays_from_any_of_its_states(episode):
    played = played_on(ReacherSimulator, episode, ONSET, episode.states[ONSET])
    assert np.array_equal(played, episode.frames[ONSET:])


@pytest.mark.parametrize("name", REACHER.perturbations)
def test_a_twin_is_the_episode_before_its_onset_and_another_from_there_on(episode, name):
    twin = REACHER.perturbations[name](episode, ONSET, np.random.default_rng(0))
    again = REACHER.perturbations[name](episode, ONSET, np.random.default_rng(0))
    assert np.array_equal(twin.frames[:ONSET], episode.frames[:ONSET])
    assert np.array_equal(twin.frames, again.frames)
    differs = (twin.frames != episode.frames).any(axis=(1, 2, 3))[ONSET:]
    assert differs.any() != np.any(twin.actions != episode.actions)


def test_a_teleported_arm_is_out_of_reach_and_moves_on(episode, monkeypatch):
    began = []

    def played(make, of, onset, state):
        began.append(state)
        return played_on(make, of, onset, state)

    monkeypatch.setattr(perturbations, "played_on", played)
    for seed in range(3):
        frames = perturbations.teleported(episode, ONSET, np.random.default_rng(seed))
        recent = episode.states[ONSET - TOLD_STEPS : ONSET]
        assert path_distance(recent, np.tile(began[-1], (TOLD_STEPS, 1))).min() > 1.5
        assert np.array_equal(began[-1][2:], episode.states[ONSET, 2:])
        assert (frames[1:] != frames[:-1]).any(axis=(1, 2, 3)).all()
    assert len(np.unique(began, axis=0)) == 3


def test_a_recoloured_arm_moves_as_it_did(episode):
    frames = REACHER.perturbations["arm recoloured"](episode, ONSET, np.random.default_rng(1)).frames[ONSET:]
    arm = np.abs(episode.frames[ONSET:].astype(int)[..., 0] - np.median(episode.frames[..., 0])) > 60
    changed = np.abs(frames.astype(int) - episode.frames[ONSET:]).max(axis=-1) > 30
    assert changed[arm].mean() > 0.9
    assert changed[~arm].mean() < 0.02


def test_a_new_colour_is_none_of_those_in_use(episode, monkeypatch):
    seen = []
    reset = ReacherSimulator.reset

    def noted(self, rng, factors):
        seen.append(dict(factors))
        reset(self, rng, factors)

    monkeypatch.setattr(ReacherSimulator, "reset", noted)
    for seed in range(3):
        REACHER.perturbations["floor recoloured"](episode, STEPS, np.random.default_rng(seed))
    for factors in seen:
        color = np.array(factors["floor.color"])
        for used in (episode.factors["floor.color"], episode.factors["agent.color"]):
            assert np.linalg.norm(color - used) >= COLOR_DISTANCE
    assert len({factors["floor.color"] for factors in seen}) == 3
