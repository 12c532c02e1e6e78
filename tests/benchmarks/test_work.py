"""Benchmarks that are interrupted continue: their results, their folder, and the datasets that they take."""

import inspect
import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest

from lewm_cli.collect import collect as collect_command
from lewm_data.collection.collect import collect
from lewm_data.envs.registry import world


@pytest.fixture
def results(module, tmp_path):
    """Opens the results of one file, told apart and ordered by seed."""
    path = tmp_path / "results.json"
    return lambda **alike: module("_results").Results(path, "a benchmark", alike, lambda row: row["seed"])


def test_processes_that_share_a_file_keep_each_others_rows_in_order(results):
    first, second = results(world="a"), results(world="a")
    second.put({"world": "a", "seed": 1, "rate": 0.1})
    first.put({"world": "a", "seed": 0, "rate": 0.2})
    second.put({"world": "a", "seed": 1, "rate": 0.3})
    rows = json.loads(first.path.read_text())["results"]
    assert [(row["seed"], row["rate"]) for row in rows] == [(0, 0.2), (1, 0.3)]
    assert first.find(1)["rate"] == 0.3
    assert first.find(2) is None


def test_results_of_other_settings_are_not_mixed(results):
    results(world="a").put({"world": "a", "seed": 0})
    with pytest.raises(SystemExit, match=r"results.json: has results with world a, not b. Name another --json"):
        results(world="b")


@pytest.fixture
def commands(module, monkeypatch):
    """The commands that were run; each writes its --out where it has one."""
    run = []

    def record(home, *words):
        run.append(words)
        if "--out" in words:
            with Path(words[words.index("--out") + 1]).open("x") as file:
                file.write("data")
        return {"number": len(run)}, 1.5

    monkeypatch.setattr(module("_work"), "run", record)
    return run


def test_a_command_that_has_ended_is_not_run_again(module, commands, tmp_path):
    once, out = module("_work").once, tmp_path / "data.h5"
    assert once(tmp_path, "a", "collect", "--seed", "0", out=out) == ({"number": 1}, 1.5)
    assert once(tmp_path, "a", "collect", "--seed", "0", out=out) == ({"number": 1}, 1.5)
    assert once(tmp_path, "a", "collect", "--seed", "1", out=out)[0] == {"number": 2}, "other words, and out is renewed"
    out.unlink()
    assert once(tmp_path, "a", "collect", "--seed", "1", out=out)[0] == {"number": 3}, "what it wrote is gone"
    assert len(commands) == 3


def test_a_command_on_other_weights_is_another_command(module, commands, tmp_path):
    once, weights = module("_work").once, tmp_path / "run" / "model.safetensors"
    weights.parent.mkdir()
    for content, number in (("first", 1), ("first", 1), ("second", 2)):
        weights.write_text(content)
        assert once(tmp_path, "plan", "plan", "--run", str(weights.parent))[0] == {"number": number}


def test_the_first_episodes_of_a_dataset_are_those_of_a_smaller_one(module, tmp_path):
    paths = {count: tmp_path / f"{count}.h5" for count in (3, 7)}
    for count, path in paths.items():
        collect(world("two-room"), path, count, policy="expert", noise=2.0, frame_size=16, seed=0)
    taken = tmp_path / "taken.h5"
    module("_work").first_episodes(paths[7], 3, taken)
    with h5py.File(taken) as one, h5py.File(paths[3]) as other:
        assert set(one) == set(other)
        for name in one:
            np.testing.assert_array_equal(one[name][()], other[name][()])
            assert set(one[name].attrs) == set(other[name].attrs)
        assert {name: str(value) for name, value in one.attrs.items()} == {
            name: str(value) for name, value in other.attrs.items()
        }


def test_data_are_taken_only_where_nothing_but_the_number_of_episodes_differs(module, tmp_path):
    source, taken = tmp_path / "source.h5", tmp_path / "taken.h5"
    collect(world("two-room"), source, 3, policy="expert", noise=2.0, frame_size=16, seed=0)
    setting = {"episodes": 2, "policy": "expert", "noise": 2.0}
    take = module("bench_data")._taken
    for other in ({"episodes": 4}, {"policy": "random"}, {"noise": 1.0}, {"detail": "coarse"}):
        assert not take(source, {**setting, **other}, taken)
    assert not taken.exists()
    assert take(source, setting, taken)
    assert module("_work").described(taken)["episodes"] == 2
    with h5py.File(source, "r+") as file:
        file.attrs["detail"] = "coarse"
    assert not take(source, setting, taken)
    assert take(source, {**setting, "detail": "coarse"}, taken)


def test_benchmarks_and_make_collect_the_same_data(module):
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    own = dict(re.findall(r"^DATA_([\w-]+) := (.+)$", makefile, re.MULTILINE))
    work = module("_work")
    assert own == {name: " ".join(work.collect_words(options)) for name, options in work.OWN_DATA.items()}
    assert inspect.signature(collect_command).parameters["episodes"].default == work.EPISODES


def test_in_benchmarks_and_make_a_policy_acts_in_the_same_worlds(module):
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    assert re.findall(r"^POLICY_ACTS := (.+)$", makefile, re.MULTILINE) == [" ".join(module("_work").POLICY_ACTS)]
