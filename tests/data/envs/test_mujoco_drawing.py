"""What is left out where MuJoCo's worlds are drawn, and the details of Cube: bounded, recorded, and without motion."""

import copy

import numpy as np
import pytest

from lewm_data.collection.collect import collect
from lewm_data.collection.record_episodes import record
from lewm_data.envs.cube.definition import CUBE
from lewm_data.envs.cube.detail import CELLS, _merge
from lewm_data.envs.reacher.definition import REACHER
from lewm_data.envs.registry import make_vector_env, world
from lewm_data.errors import DataError
from lewm_data.store.dataset import Dataset

try:
    from lewm_data.envs.cube.factors import CAMERA as CUBE_CAMERA
    from lewm_data.envs.mujoco.simulator import mujoco
    from lewm_data.envs.reacher.factors import CAMERA as REACHER_CAMERA

    REACHER.make(1, 16, False).close()
    CUBE.make(1, 16, False).close()
except DataError as error:  # MuJoCo, what it draws with, OGBench or dm_control is missing
    pytest.skip(str(error), allow_module_level=True)

COARSE = CUBE.drawn("coarse")


def drawn(place, size, states):
    """Frames of the states, and MuJoCo's own frames of them with all that the model asks for."""
    env = place.make(1, size, False)
    env.reset(seed=0)
    (simulator,) = env.simulators
    model = copy.copy(simulator.model)
    model.vis.global_.offwidth = model.vis.global_.offheight = size
    renderer = mujoco.Renderer(model, size, size)
    ours, own = [], []
    for state in states:
        env.set_state(state[None])
        ours.append(env.render()[0].astype(int))
        renderer.update_scene(simulator.data, CUBE_CAMERA if place.name == "cube" else REACHER_CAMERA)
        own.append(renderer.render().astype(int))
    renderer.close()
    env.close()
    return np.stack(ours), np.stack(own)


def starts(place, count):
    env = place.make(count, 16, False)
    env.reset(seed=3)
    states = env.state
    env.close()
    return states


@pytest.mark.parametrize(
    ("place", "size", "decibels", "near"),
    [
        (REACHER, 64, 42, 0.985),
        (CUBE, 64, 34, 0.97),
        (CUBE, 128, 36, 0.98),
        (COARSE, 64, 31, 0.95),
    ],
    ids=lambda value: f"{value.name}-{value.detail}" if value in (REACHER, CUBE, COARSE) else str(value),
)
def test_frames_are_almost_mujoco_s_own(place, size, decibels, near):
    ours, own = drawn(place, size, starts(place, 2))
    apart = np.abs(ours - own)
    assert 0 < np.square(apart).mean() < 255**2 / 10 ** (decibels / 10)
    assert (apart.max(axis=-1) <= 10).mean() > near
    again, _ = drawn(place, size, starts(place, 2))
    assert np.array_equal(ours, again)


def test_the_model_that_moves_is_not_the_one_that_is_drawn():
    env = COARSE.make(1, 16, True)
    model = env.simulators[0].model
    grid, faces, shadow = model.geom_size.copy(), model.mesh_facenum.copy(), model.vis.quality.shadowsize
    env.reset(seed=0)
    env.render()
    assert np.array_equal(model.geom_size, grid)
    assert np.array_equal(model.mesh_facenum, faces)
    assert model.vis.quality.shadowsize == shadow
    env.close()


def subdivided_cube(count):
    """The surface of the unit cube in squares, each of two triangles; vertices at a corner are one for each face."""
    steps = np.linspace(0, 1, count + 1)
    u, v = (grid.ravel() for grid in np.meshgrid(steps, steps, indexing="ij"))
    corner = np.arange((count + 1) ** 2).reshape(count + 1, count + 1)
    a, b, c, d = (corner[i, j].ravel() for i, j in ((np.s_[:-1], np.s_[:-1]), (np.s_[1:], np.s_[:-1]),
                                                    (np.s_[1:], np.s_[1:]), (np.s_[:-1], np.s_[1:])))  # fmt: skip
    one = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    vertices, faces = [], []
    for axis in range(3):
        for level in (0.0, 1.0):
            faces.append(one + len(vertices) * (count + 1) ** 2)
            vertices.append(np.insert(np.stack([u, v], 1), axis, level, axis=1))
    return np.concatenate(vertices).astype(np.float32), np.concatenate(faces)


def test_merged_vertices_keep_flat_faces_flat_and_corners_sharp():
    vertices, faces = subdivided_cube(16)
    cell = 0.3
    merged, kept = _merge(vertices, faces, cell)
    assert 0 < len(kept) < len(faces) / 4
    assert len(np.unique(merged, axis=0)) == len(np.unique(np.floor(vertices / np.float32(cell)), axis=0))
    outside = np.abs(merged - 0.5).max(axis=1)  # 0.5 on the surface
    np.testing.assert_allclose(outside, 0.5, atol=0.02)
    for corner in np.ndindex(2, 2, 2):
        assert np.abs(merged - corner).max(axis=1).min() < 0.02
    lone, none = _merge(vertices[:3] + 5, np.array([[0, 0, 0]]), cell)  # a cell without a face of any area
    assert np.isfinite(lone).all()
    assert len(none) == 0


def test_details_differ_in_frames_alone():
    one, other = (make_vector_env("cube", 1, 64, detail) for detail in ("full", "coarse"))
    (seen, _), (looked, _) = one.reset(seed=1), other.reset(seed=1)
    for _ in range(3):
        assert not np.array_equal(seen.pop("pixels"), looked.pop("pixels"))
        assert all(np.array_equal(seen[name], looked[name]) for name in seen.keys() | looked.keys())
        seen, looked = (env.step(np.full((1, 5), 0.5, np.float32))[0] for env in (one, other))
    assert tuple(CUBE.details) == tuple(CELLS)
    assert (CUBE.detail, COARSE.detail, CUBE.drawn(None), COARSE.drawn("full")) == ("full", "coarse", CUBE, CUBE)
    one.close()
    other.close()


def test_the_file_records_its_detail_and_is_continued_with_no_other(tmp_path):
    settings = {"policy": "random", "noise": 0.0, "frame_size": 16, "seed": 2}
    by_worker, here = tmp_path / "worker.h5", tmp_path / "here.h5"
    collect(COARSE, by_worker, 1, **settings, workers=1)
    collect(COARSE, here, 1, **settings, workers=0)
    with Dataset.open(by_worker) as dataset, Dataset.open(here) as same:
        assert dataset.attributes["detail"] == "coarse"
        assert dataset.fingerprint() == same.fingerprint()
        frames, _ = drawn(COARSE, 16, dataset.column("state")[:3])
        assert np.array_equal(dataset.frames(np.arange(3)), frames)
    with pytest.raises(DataError, match="was collected with detail coarse, asked to append with detail full"):
        collect(CUBE, here, 2, **settings, mode="append")


def test_events_are_drawn_as_finely_as_their_episode():
    (episode,) = record(COARSE, [4], 64, 6)
    unlike = {}
    for place in (COARSE, CUBE):
        frames = place.perturbations["cube recoloured"](episode, 4, np.random.default_rng(0)).frames
        unlike[place.detail] = (frames[4:] != episode.frames[4:]).any(axis=-1).mean()
    assert unlike["coarse"] < 0.02 < unlike["full"]


def test_a_detail_that_a_world_does_not_have_is_refused():
    with pytest.raises(DataError, match='two-room: detail "coarse", but its frames are drawn in one way only\nLeave'):
        world("two-room").drawn("coarse")
    with pytest.raises(DataError, match=r'unknown detail of cube "coarser"\nDid you mean "coarse"\? Known: coarse, f'):
        CUBE.drawn("coarser")
