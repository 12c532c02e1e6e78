"""Factors of variation between episodes, and their columns in a dataset."""

import numpy as np
import pytest

from lewm_data.collection.collect import collect
from lewm_data.collection.factors import draw_factors, factor_columns, named_factors, recorded_factors
from lewm_data.envs.registry import world
from lewm_data.errors import DataError
from lewm_data.store.dataset import Dataset

WORLD = world("two-room")


def test_names_come_in_the_worlds_order_and_unknown_ones_are_met_with_the_nearest():
    assert named_factors(WORLD, "") == ()
    assert named_factors(WORLD, "all") == tuple(WORLD.factors)
    assert named_factors(WORLD, "door.position, agent.color") == ("agent.color", "door.position")
    with pytest.raises(DataError, match=r'unknown factor of two-room "door\.positon"\nDid you mean "door\.position"'):
        named_factors(WORLD, "agent.color,door.positon")


def test_a_factor_is_the_same_whichever_others_vary():
    few, many = (draw_factors(WORLD, names, np.random.default_rng(5)) for names in (("wall.color",), (*WORLD.factors,)))
    assert few == {"wall.color": many["wall.color"]}
    assert many != draw_factors(WORLD, tuple(WORLD.factors), np.random.default_rng(6))


def test_columns_have_the_type_of_the_default():
    columns = factor_columns(WORLD, {"agent.color": (1, 2, 3), "agent.speed": 0.03, "wall.axis": 1}, 4)
    assert {name: (values.dtype.kind, values.shape) for name, values in columns.items()} == {
        "factor.agent.color": ("i", (4, 3)),
        "factor.agent.speed": ("f", (4,)),
        "factor.wall.axis": ("i", (4,)),
    }
    assert columns["factor.agent.color"].tolist() == [[1, 2, 3]] * 4
    assert recorded_factors(columns, 4) == ({"agent.color": (1, 2, 3), "agent.speed": 0.03, "wall.axis": 1},) * 4
    assert recorded_factors({"state": np.zeros((2, 2))}, 2) == ({}, {})


def test_what_a_dataset_records_restores_its_frames(tmp_path):
    path = tmp_path / "a.h5"
    settings = {"policy": "random", "noise": 0.0, "frame_size": 24, "seed": 1}
    collect(WORLD, path, 6, **settings, vary="all", num_envs=4)
    with Dataset.open(path) as dataset:
        assert dataset.attributes["vary"] == ",".join(WORLD.factors)
        names = [f"factor.{name}" for name in WORLD.factors]
        assert set(names) <= set(dataset.columns)
        rows = dataset.offsets + dataset.lengths // 2
        values = {name: dataset.column(name) for name in dataset.columns if name != "pixels"}
        each = recorded_factors({name: column[rows] for name, column in values.items()}, 6)
        env = WORLD.make(6, 24, True)
        placed = {"state": dataset.column("state")[rows], "goal": dataset.column("goal")[rows], "factors": each}
        observation, _ = env.reset(seed=0, options=placed)
        np.testing.assert_array_equal(observation["pixels"], dataset.frames(rows))
        assert len({str(one) for one in each}) == 6
        for episode in range(6):
            rows = dataset.rows(np.array([episode]))
            assert all(len(np.unique(values[name][rows], axis=0)) == 1 for name in names)
    collect(WORLD, tmp_path / "b.h5", 2, **settings)
    with Dataset.open(tmp_path / "b.h5") as dataset:
        assert not [name for name in dataset.columns if name.startswith("factor.")]


def test_which_policy_acted_is_recorded_where_there_were_several(tmp_path):
    path = tmp_path / "a.h5"
    collect(WORLD, path, 12, policy="expert,random:2", noise=0.0, frame_size=16, seed=1)
    with Dataset.open(path) as dataset:
        assert dataset.attributes["policy"] == "expert,random:2"
        acted = dataset.column("policy")[dataset.offsets]
        assert set(acted.tolist()) == {0, 1}
        reached = dataset.column("reward")[dataset.offsets + dataset.lengths - 2] == 1
        assert reached[acted == 0].all()
        assert not reached[acted == 1].all()


def test_append_refuses_other_factors(tmp_path):
    path = tmp_path / "a.h5"
    settings = {"policy": "random", "noise": 0.0, "frame_size": 16, "seed": 1}
    collect(WORLD, path, 2, **settings, vary="agent.color")
    with pytest.raises(DataError, match=r"with vary agent\.color, asked to append with vary wall\.color"):
        collect(WORLD, path, 3, **settings, vary="wall.color", mode="append")
