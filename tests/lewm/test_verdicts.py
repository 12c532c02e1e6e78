"""Verdicts on whether states tell success: tried out last, kept as long as all that they depend on is the same."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import distributions
from pathlib import Path

import numpy as np
import pytest

from lewm.errors import LewmError
from lewm.evaluation.from_dataset import draw_tasks
from lewm.evaluation.from_env import draw_from_env
from lewm.evaluation.manifest import read_tasks, write_tasks
from lewm.evaluation.verdicts import with_kept_verdict
from lewm.files import home
from lewm_data.collection.collect import collect
from lewm_data.envs.gymnasium import origin
from lewm_data.envs.gymnasium.world import gymnasium_world
from lewm_data.envs.judgement import Judgement
from lewm_data.envs.registry import world
from lewm_data.store.dataset import Dataset

SIDES = [Judgement(False, "not known, because of this"), Judgement(True, "judged by states: so it is")]


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("LEWM_HOME", str(tmp_path))


class Trial:
    """Counts how often a world is tried out, and finds another verdict each time."""

    def __init__(self, depends_on):
        self.runs, self.shares = 0, []
        self.place = replace(world("two-room"), judge=self.judge, judged_from=lambda: depends_on)

    def judge(self, on_share):
        self.runs += 1
        on_share(0.5)
        return SIDES[self.runs % 2]

    def judged(self):
        return with_kept_verdict(self.place, self.shares.append).judge()


def kept():
    return sorted((home() / "cache" / "verdicts").glob("*"))


@pytest.mark.parametrize("before", [0, 1])
def test_a_verdict_is_tried_out_once_for_what_it_depends_on(before):
    trial = Trial({"packages": "a", "fit": "crop"})
    trial.runs = before
    first = trial.judged()
    assert trial.judged() == trial.judged() == first == SIDES[(before + 1) % 2]
    assert (trial.runs, trial.shares) == (before + 1, [0.5])
    for other in ({"packages": "b", "fit": "crop"}, {"packages": "a", "fit": "stretch"}):
        stale = Trial(other)
        stale.judged()
        assert stale.runs == 1
    assert len(kept()) == 3
    trial.judged()
    assert trial.runs == before + 1


def test_a_verdict_of_another_world_is_not_taken():
    Trial({"packages": "a"}).judged()
    other = Trial({"packages": "a"})
    other.place = replace(other.place, name="another")
    other.judged()
    assert other.runs == 1


def test_nothing_is_kept_where_it_is_not_known_what_a_verdict_depends_on():
    trial = Trial(None)
    assert trial.judged() != trial.judged()
    assert not kept()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:-20],
        lambda text: text.replace("true", "false"),
        lambda text: text.replace("so it is", "so it was"),
        lambda text: text.replace("crop", "drop"),
        lambda text: "[1]",
        lambda text: "{}",
        lambda text: json.dumps({"sha256": "", "known": True, "said": "judged by states"}),
        lambda text: "",
    ],
)
def test_a_damaged_verdict_is_tried_out_again(spoil):
    trial = Trial({"fit": "crop"})
    trial.judged()
    trial.runs = 0
    (path,) = kept()
    whole = path.read_text()
    assert spoil(whole) != whole
    path.write_text(spoil(whole))
    assert trial.judged() == SIDES[1]
    assert trial.runs == 1
    assert path.read_text() != spoil(whole)
    assert trial.judged() == SIDES[1]


def test_a_verdict_that_cannot_be_kept_is_used_all_the_same(tmp_path, caplog):
    (tmp_path / "cache").write_text("a file, where a folder would have to be")
    trial = Trial({"fit": "crop"})
    assert trial.judged() == SIDES[1]
    assert "cannot be written, so it is made again the next time" in caplog.text


def test_a_trial_comes_after_all_that_is_quickly_checked(tmp_path):
    """Where no trial may run, these faults are found; without a fault it would have run."""

    class TriedOutError(Exception):
        pass

    def judge(on_share=None):
        raise TriedOutError

    place = world("two-room")
    collect(place, tmp_path / "a.h5", 3, policy="random", noise=0.0, frame_size=16, seed=0)
    tasks = tmp_path / "tasks.json"
    write_tasks(tasks, draw_from_env(place, 3, 5, 9, 0))
    place = replace(place, judge=judge)
    with Dataset.open(tmp_path / "a.h5") as dataset:
        every = np.arange(3)
        for protocol, count, offset, problem in (
            ("hold-out", 1, 5, "unknown protocol"),
            ("held-out", 9999, 5, r"at most \d+ different held-out tasks .* 9999 asked for"),
            ("held-out", 1, 9999, "the longest episode has"),
        ):
            with pytest.raises(LewmError, match=problem):
                draw_tasks(dataset, place, protocol, every, count, offset, 9, 0)
        with pytest.raises(TriedOutError):
            draw_tasks(dataset, place, "held-out", every, 1, 5, 9, 0)
    with pytest.raises(TriedOutError):
        read_tasks(tasks, place)
    tasks.write_text(tasks.read_text().replace('"budget": 9', '"budget": 8'))
    with pytest.raises(LewmError, match="was changed after it was written"):
        read_tasks(tasks, place)


def test_a_verdict_on_an_installed_environment_depends_on_packages_fit_and_renderer(monkeypatch):
    def depends_on(fit="stretch", name="CartPole-v1"):
        return gymnasium_world(name).fitted(fit).judged_from()

    found = depends_on()
    assert found is not None
    assert "CartPole-v1" in found["environment"]
    assert found == depends_on()
    assert depends_on("crop") == {**found, "fit": "crop"}
    assert depends_on(name="Pendulum-v1")["environment"] != found["environment"]
    monkeypatch.setenv("MUJOCO_GL", "none")
    assert depends_on()["renderer"] == "none"
    one_more = [*distributions(), next(iter(distributions()))]
    monkeypatch.setattr(origin.importlib.metadata, "distributions", lambda: one_more)
    assert depends_on()["packages"] != found["packages"]


def test_a_verdict_on_code_of_ones_own_depends_on_what_cannot_be_told(monkeypatch):
    """Such code can change at any time, and so may what an environment was registered with."""
    import gymnasium

    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "data" / "envs"))
    assert world("gymnasium_package:Lane-v0").judged_from() is None
    assert world("gymnasium_package:LanePictures-v0").judged_from() is None
    monkeypatch.setitem(
        gymnasium.registry,
        "Made-v0",
        gymnasium.envs.registration.EnvSpec(
            "Made-v0", entry_point=lambda **options: gymnasium.make("CartPole-v1", **options).unwrapped
        ),
    )
    made = gymnasium_world("Made-v0")
    assert made.judged_from() is None
    assert made.judge().known


def test_what_an_environment_is_registered_with_may_hold_itself(monkeypatch):
    import gymnasium

    held = []
    held.append(held)
    spec = gymnasium.spec("CartPole-v1")
    monkeypatch.setitem(gymnasium.registry, "Made-v0", replace(spec, id="Made-v0", kwargs={"held": held}))
    assert origin.judged_from("Made-v0", "crop") is None
    monkeypatch.setitem(gymnasium.registry, "Made-v0", replace(spec, id="Made-v0", kwargs={"held": 1}))
    assert '"held": 1' in origin.judged_from("Made-v0", "crop")["environment"]


def registered(monkeypatch, **changes):
    """What a verdict depends on where CartPole is registered with these changes."""
    import gymnasium

    spec = replace(gymnasium.spec("CartPole-v1"), id="Made-v0", **changes)
    monkeypatch.setitem(gymnasium.registry, "Made-v0", spec)
    return origin.judged_from("Made-v0", "crop")


@pytest.mark.parametrize("loaded", [False, True])
def test_a_function_of_ones_own_that_makes_an_installed_class_is_code_of_ones_own(tmp_path, monkeypatch, loaded):
    (tmp_path / "made_at_home.py").write_text(
        "from gymnasium.envs.classic_control.cartpole import CartPoleEnv\n\nmake = CartPoleEnv\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    if loaded:
        monkeypatch.setitem(sys.modules, "made_at_home", importlib.import_module("made_at_home"))
        assert registered(monkeypatch, kwargs={"rooms": "made_at_home"}) is None
    assert registered(monkeypatch, kwargs={"robot": "made_at_home:make"}) is None
    assert registered(monkeypatch, kwargs={"robot": "made_at_work:make", "sides": ":", "of": "gymnasium"}) is not None
    assert registered(monkeypatch, entry_point="made_at_home:make") is None
    if loaded:
        assert world("Made-v0").judged_from() is None


def test_files_of_ones_own_can_change_at_any_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "CartPole").mkdir()  # what an environment is called names no file
    installed = tmp_path / "site-packages" / "ant.xml"
    own = tmp_path / "mine.xml"
    for path in (own, installed):
        assert registered(monkeypatch, kwargs={"xml_file": str(path)}) is not None
        path.parent.mkdir(exist_ok=True)
        path.write_text("<mujoco/>")
    assert registered(monkeypatch, kwargs={"xml_file": str(installed)}) is not None
    for named in (str(own), "mine.xml", "./mine.xml", "~/mine.xml", str(tmp_path)):
        assert registered(monkeypatch, kwargs={"xml_file": named}) is None
    for odd in ("a\0b", "x" * 5000, "~nobody/a.xml", ""):
        assert registered(monkeypatch, kwargs={"xml_file": odd}) is not None


def made_by_a_package(source):
    """What a verdict depends on where an installed module registers an environment: a new process each time."""
    code = f"""
import functools, gymnasium, json, sys
sys.path.insert(0, {str(source.parent)!r})
import {source.stem}
from lewm_data.envs.gymnasium.world import gymnasium_world
print(json.dumps(gymnasium_world("Made-v0").judged_from()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "entry", ["functools.partial(make, mode=MODE)", "within(MODE)", "Made", "lambda **o: make(**o)"]
)
def test_an_environment_that_a_function_of_a_package_makes_can_be_named(tmp_path, monkeypatch, entry):
    """As Shimmy registers those of dm_control. What the function was given is part of the name."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    source = tmp_path / "site-packages" / "made_here.py"
    source.parent.mkdir()
    text = f"""
import functools
import gymnasium
from gymnasium.envs.classic_control.cartpole import CartPoleEnv
MODE = 1

class Made(CartPoleEnv):
    pass

def make(mode=0, **options):
    return Made(**options)

def within(mode):
    def made(**options):
        return make(mode, **options)
    return made

gymnasium.register("Made-v0", {entry}, max_episode_steps=9)
"""
    source.write_text(text)
    found = made_by_a_package(source)
    assert found is not None
    assert found == made_by_a_package(source)
    source.write_text(text.replace("MODE = 1", "MODE = 2"))
    assert (made_by_a_package(source) != found) == ("MODE" in entry)
    source.write_text(text.replace("MODE = 1", "MODE = object()"))
    assert (made_by_a_package(source) is None) == ("MODE" in entry)
