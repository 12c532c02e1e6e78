"""ALOHA's, robomimic's and Minari's HDF5 files where they are unusual, incomplete or hostile."""

import json
import os
import shutil
import zlib

import h5py
import numpy as np
import pytest

from lewm_data.errors import DataError

pytest.importorskip("av")

DEMO = "data/demo_2"
TOP = "observations/images/cam_high"


@pytest.fixture
def aloha(fixtures, tmp_path):
    return shutil.copytree(fixtures / "aloha" / "recording", tmp_path / "aloha")


@pytest.fixture
def aloha_jpeg(fixtures, tmp_path):
    return shutil.copytree(fixtures / "aloha" / "recording-jpeg", tmp_path / "aloha")


@pytest.fixture
def demos(fixtures, tmp_path):
    return shutil.copy(fixtures / "robomimic" / "image_compact.hdf5", tmp_path / "demos.hdf5")


@pytest.fixture
def minari(fixtures, tmp_path):
    return shutil.copytree(fixtures / "minari" / "recording", tmp_path / "minari")


def replace(file, name, values):
    """Give a dataset other values, shape and type."""
    del file[name]
    file[name] = values


def refused(converted, path, *words, **settings):
    """The error of a conversion, which names all of the words."""
    with pytest.raises(DataError) as caught:
        converted(path, **settings)
    assert all(word in caught.value.problem for word in words), caught.value.problem
    return caught.value


def test_one_episode_of_aloha_is_a_source(aloha, converted, aligned):
    aligned(converted(aloha / "episode_1.hdf5", camera="cam_high").episodes, numbers=(1,))


def test_episodes_of_aloha_are_in_the_order_of_their_numbers(aloha, converted, aligned):
    (aloha / "episode_1.hdf5").rename(aloha / "episode_10.hdf5")
    aligned(converted(aloha, camera="cam_high").episodes, numbers=(0, 2, 1))


def test_jpeg_rows_that_another_recorder_made_keep_their_colours(fixtures, tmp_path, converted, aligned):
    folder = shutil.copytree(fixtures / "aloha" / "recording-jpeg-bgr", tmp_path / "aloha")
    with h5py.File(folder / "episode_0.hdf5", "a") as file:
        del file["compress_len"]
    aligned(converted(folder).episodes, numbers=(0,))


def test_jpeg_rows_of_any_length_are_read(fixtures, tmp_path, converted, aligned):
    folder = shutil.copytree(fixtures / "aloha" / "recording-jpeg-bgr", tmp_path / "aloha")
    with h5py.File(folder / "episode_0.hdf5", "a") as file:
        lengths = file["compress_len"][0].astype(int)
        rows = [row[:length] for row, length in zip(file[TOP][:], lengths, strict=True)]
        del file["compress_len"], file[TOP]
        made = file.create_dataset(TOP, len(rows), h5py.vlen_dtype(np.uint8))
        for index, row in enumerate(rows):
            made[index] = row
    aligned(converted(folder).episodes, numbers=(0,))


@pytest.mark.parametrize("rows", [17, 20])
def test_actions_of_another_number_are_refused(aloha, converted, rows):
    with h5py.File(aloha / "episode_1.hdf5", "a") as file:
        replace(file, "action", np.zeros((rows, 2), np.float32))
    refused(converted, aloha, "episode_1.hdf5", f"{rows} rows of 'action', expected 19 or 18", camera="cam_high")


def test_an_action_less_than_pictures_is_between_each_two(aloha, converted, aligned):
    for file in aloha.iterdir():
        with h5py.File(file, "a") as opened:
            replace(opened, "action", opened["action"][:-1])
    made = converted(aloha, camera="cam_high")
    aligned(made.episodes)
    assert "one picture more than actions: the last picture of an episode has none" in made.said


def test_the_actions_of_a_mobile_base_belong_to_the_action(aloha, converted):
    for file in aloha.iterdir():
        with h5py.File(file, "a") as opened:
            opened["base_action"] = opened["action"][:] + 1
    made = converted(aloha, camera="cam_high")
    assert made.said[1] == "actions: action, base_action (4 numbers), as sent to the motors"
    for episode in made.episodes:
        np.testing.assert_allclose(episode["action"][:-1, 2:], episode["action"][:-1, :2] + 1, atol=1e-6)
    with h5py.File(aloha / "episode_1.hdf5", "a") as file:
        replace(file, "base_action", np.zeros((18, 2), np.float32))
    refused(converted, aloha, "episode_1.hdf5", "19 rows of 'action', 18 rows of 'base_action'", camera="cam_high")


def test_an_action_that_is_no_number_is_refused(aloha, converted):
    with h5py.File(aloha / "episode_1.hdf5", "a") as file:
        file["action"][4, 1] = np.nan
    refused(converted, aloha, "episode_1.hdf5", "action 4, counted from 0, is no number", camera="cam_high")


def test_a_truncated_file_is_named_and_can_be_left_out(aloha, converted, aligned):
    damaged = aloha / "episode_1.hdf5"
    damaged.write_bytes(damaged.read_bytes()[:-5000])
    refused(converted, aloha, "episode_1.hdf5", camera="cam_high")
    aligned(converted(aloha, camera="cam_high", skip_damaged=True).episodes, numbers=(0, 2))


def test_an_episode_without_the_camera_is_named(aloha, converted):
    with h5py.File(aloha / "episode_1.hdf5", "a") as file:
        del file[TOP]
    refused(converted, aloha, "episode_1.hdf5", f"no dataset '{TOP}'", camera="cam_high")


def test_a_damaged_jpeg_row_is_named(aloha_jpeg, converted):
    with h5py.File(aloha_jpeg / "episode_1.hdf5", "a") as file:
        file[TOP][5] = 0
    refused(converted, aloha_jpeg, "episode_1.hdf5", f"row 5 of '{TOP}'", camera="cam_high")


def test_a_link_to_a_pipe_is_not_waited_for(aloha, tmp_path, converted):
    os.mkfifo(tmp_path / "pipe")
    with h5py.File(aloha / "episode_1.hdf5", "a") as file:
        del file[TOP]
        file[TOP] = h5py.ExternalLink(str(tmp_path / "pipe"), "pictures")
    refused(converted, aloha, "episode_1.hdf5", "is a link, which is not followed", camera="cam_high")


@pytest.mark.parametrize("kind", ["external", "soft", "virtual", "storage"])
def test_no_data_of_other_files_are_read(aloha, tmp_path, converted, kind):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["pictures"] = np.zeros((19, 48, 64, 3), np.uint8)
    with h5py.File(aloha / "episode_1.hdf5", "a") as file:
        del file[TOP]
        if kind == "external":
            file[TOP] = h5py.ExternalLink(str(secret), "pictures")
        elif kind == "soft":
            file["elsewhere"] = h5py.ExternalLink(str(secret), "/")
            file[TOP] = h5py.SoftLink("/elsewhere/pictures")
        elif kind == "virtual":
            layout = h5py.VirtualLayout((19, 48, 64, 3), np.uint8)
            layout[...] = h5py.VirtualSource(str(secret), "pictures", (19, 48, 64, 3))
            file.create_virtual_dataset(TOP, layout)
        else:
            file.create_dataset(TOP, (19, 48, 64, 3), np.uint8, external=str(secret))
    refused(converted, aloha, "episode_1.hdf5", camera="cam_high")


@pytest.mark.parametrize("place", ["observations/again", "observations/q/again"])
def test_a_group_in_two_places_is_refused(aloha, converted, place):
    with h5py.File(aloha / "episode_0.hdf5", "a") as file:
        group = file.create_group("observations/q")
        file[place] = group if place == "observations/again" else file["observations"]
    refused(converted, aloha, "episode_0.hdf5", "has the group", "in two places", camera="cam_high")


def test_groups_that_are_too_deep_are_refused(aloha, converted):
    with h5py.File(aloha / "episode_0.hdf5", "a") as file:
        file.create_group("observations/" + "/".join("abcdefghijklmnopqrstuvwxyzABCDEFGHIJ"))
    refused(converted, aloha, "episode_0.hdf5", "groups more than 32 deep", camera="cam_high")


@pytest.mark.parametrize("rows", ["pictures", "files", "any length", "numbers"])
def test_a_chunk_that_unpacks_to_more_than_it_may_hold_is_refused(aloha, converted, rows):
    packed = zlib.compressobj(9)
    bomb = b"".join([*(packed.compress(bytes(1 << 20)) for _ in range(300)), packed.flush()])
    name = "observations/qpos" if rows == "numbers" else TOP
    kind = h5py.vlen_dtype(np.uint8) if rows == "any length" else np.float32 if rows == "numbers" else np.uint8
    shape = {"pictures": (19, 48, 64, 3), "files": (19, 500), "any length": (19,), "numbers": (19, 2)}[rows]
    with h5py.File(aloha / "episode_0.hdf5", "a") as file:
        del file[name]
        item = file.create_dataset(name, shape, kind, chunks=shape, compression="gzip")
        item.id.write_direct_chunk((0,) * len(shape), bomb)
    refused(converted, aloha, "episode_0.hdf5", f"a chunk of '{name}' holds more than its", camera="cam_high")


def test_compressed_numbers_and_pictures_are_read(aloha, converted, aligned):
    with h5py.File(aloha / "episode_0.hdf5", "a") as file:
        for name in (TOP, "observations/qpos", "action"):
            values = file[name][:]
            del file[name]
            file.create_dataset(name, data=values, chunks=(5, *values.shape[1:]), compression="gzip")
    aligned(converted(aloha, camera="cam_high").episodes)


def test_compressed_jpeg_rows_of_any_length_are_read(fixtures, tmp_path, converted, aligned):
    folder = shutil.copytree(fixtures / "aloha" / "recording-jpeg-bgr", tmp_path / "aloha")
    with h5py.File(folder / "episode_0.hdf5", "a") as file:
        rows = file[TOP][:]
        del file["compress_len"], file[TOP]
        made = file.create_dataset(TOP, len(rows), h5py.vlen_dtype(np.uint8), chunks=(5,), compression="gzip")
        for index, row in enumerate(rows):
            made[index] = row
    aligned(converted(folder).episodes, numbers=(0,))


def test_maps_and_other_pictures_are_no_columns(aloha, converted, aligned):
    for path in aloha.iterdir():
        with h5py.File(path, "a") as file:
            rows = len(file["action"])
            file["observations/images_depth/cam_high"] = np.zeros((rows, 48, 64), np.uint16)
            file["observations/mask"] = np.zeros((rows, 8, 8), np.uint8)
            file["observations/nothing"] = np.zeros((rows, 0))
            file["observations/touch"] = np.zeros((rows, 32, 64), np.float32)
    made = converted(aloha, camera="cam_high")
    aligned(made.episodes)
    assert "left out: images_depth.cam_high, mask, nothing" in made.said
    assert made.episodes[0]["touch"].shape[1:] == (32, 64)


def test_demonstrations_without_pictures_say_how_to_add_them(demos, converted):
    with h5py.File(demos, "a") as file:
        for demo in file["data"].values():
            for name in ("agentview_image", "robot0_eye_in_hand_image"):
                del demo["obs"][name]
    assert "dataset_states_to_obs.py" in refused(converted, demos, "have no pictures, only robot0_eef_pos").remedy


@pytest.mark.parametrize("text", ["", "{", "[]", '{"env_kwargs": {"control_freq": "fast"}}', "{" * 100_000])
def test_without_a_rate_in_the_description_there_is_no_clock(demos, converted, aligned, text):
    with h5py.File(demos, "a") as file:
        del file["data"].attrs["env_args"]
        if len(text) < 60_000:
            file["data"].attrs["env_args"] = text
        else:
            file["data"].attrs.create("env_args", text, dtype=h5py.string_dtype())
    made = converted(demos, camera="agentview_image")
    aligned(made.episodes)
    assert "fps" not in made.attributes
    assert made.said[-1] == "no clock: how fast it was recorded is not known"


def test_one_damaged_demonstration_can_be_left_out(demos, converted, aligned):
    with h5py.File(demos, "a") as file:
        replace(file, f"{DEMO}/actions", np.zeros((3, 2)))
    refused(converted, demos, "demo_2", "3 rows of 'action', expected 19 or 18", camera="agentview_image")
    made = converted(demos, camera="agentview_image", skip_damaged=True)
    aligned(made.episodes, numbers=(0, 2))
    assert [name for name, _ in made.report.left_out] == ["demo_2"]


def cut(file, demo, rows):
    """Leave the first rows of a demonstration only."""
    names = []
    file[f"data/{demo}"].visititems(lambda name, found: names.append(name) if isinstance(found, h5py.Dataset) else None)
    for name in names:
        replace(file, f"data/{demo}/{name}", file[f"data/{demo}/{name}"][:rows])


def test_a_demonstration_without_actions_can_be_left_out(demos, converted, aligned):
    with h5py.File(demos, "a") as file:
        cut(file, "demo_2", 0)
    refused(converted, demos, "demo_2: has 0 pictures, expected at least 2", camera="agentview_image")
    aligned(converted(demos, camera="agentview_image", skip_damaged=True).episodes, numbers=(0, 2))


def test_minari_is_found_by_its_folder_and_by_its_file(minari, converted, aligned):
    for path in (minari, minari / "data", minari / "data" / "main_data.hdf5"):
        aligned(converted(path).episodes)


def test_an_observation_that_is_the_picture_is_the_camera(minari, converted, aligned):
    with h5py.File(minari / "data" / "main_data.hdf5", "a") as file:
        for episode in file.values():
            image = episode["observations/image"]
            rows = [image[row] for row in range(len(image))]
            del episode["observations"]
            made = episode.create_dataset("observations", len(rows), h5py.vlen_dtype(np.uint8))
            for index, row in enumerate(rows):
                made[index] = row
    made = converted(minari)
    aligned(made.episodes)
    assert made.said[0] == "camera observations, the only one"


@pytest.mark.parametrize("start", [0, 3])
def test_choices_are_one_hot_vectors(minari, converted, start):
    description = minari / "data" / "metadata.json"
    about = json.loads(description.read_text())
    about["action_space"] = json.dumps({"type": "Discrete", "dtype": "int64", "start": start, "n": 4})
    description.write_text(json.dumps(about))
    with h5py.File(minari / "data" / "main_data.hdf5", "a") as file:
        for episode in file.values():
            replace(episode, "actions", np.arange(len(episode["rewards"])) % 4 + start)
    made = converted(minari)
    for episode in made.episodes:
        expected = np.eye(4, dtype=np.float32)[np.arange(len(episode["action"]) - 1) % 4]
        np.testing.assert_array_equal(episode["action"][:-1], expected)
    assert made.said[1] == "actions: actions (4 numbers), a choice, as a one-hot vector"
    with h5py.File(minari / "data" / "main_data.hdf5", "a") as file:
        file["episode_1/actions"][2] = start + 4
    refused(converted, minari, "episode_1", "other actions than the 4 options")
    description.unlink()
    refused(converted, minari, "metadata.json", "no such file")


def test_actions_in_several_parts_are_refused(minari, converted):
    with h5py.File(minari / "data" / "main_data.hdf5", "a") as file:
        for episode in file.values():
            values = episode["actions"][:]
            del episode["actions"]
            episode["actions/arm"], episode["actions/hand"] = values[:, :1], values[:, 1:]
    refused(converted, minari, "actions are in several parts: arm, hand")


def test_observations_without_pictures_are_refused(minari, converted):
    with h5py.File(minari / "data" / "main_data.hdf5", "a") as file:
        for episode in file.values():
            del episode["observations/image"]
    refused(converted, minari, "have no pictures, only state")


@pytest.fixture
def libero(fixtures, tmp_path):
    return shutil.copy(fixtures / "libero" / "demo.hdf5", tmp_path / "demo.hdf5")


def test_libero_recorded_anew_with_observations_before_the_actions_is_told_by_its_joints(libero, scene, converted):
    with h5py.File(libero, "a") as file:
        for demo in file["data"].values():
            replace(demo, "obs/joint_states", demo["states"][:, 1:8])
            replace(demo, "actions", demo["actions"][:] + 1)  # of the frame that is shown
    made = converted(libero, camera="agentview_rgb", flip="vertical")
    assert "row t is the action taken from observation t" in made.said
    for number, episode in enumerate(made.episodes):
        assert len(episode["pixels"]) == scene.LENGTHS[number] - 1
        expected = scene.actions(number)[:-2] + 1
        np.testing.assert_allclose(episode["action"][:-1], expected, atol=1e-6)
        np.testing.assert_allclose(episode["states"][:, 1:8], episode["joint_states"])


@pytest.mark.parametrize("lacking", ["states", "obs/joint_states"])
def test_libero_without_its_joints_is_told_by_its_description(libero, converted, aligned, lacking):
    with h5py.File(libero, "a") as file:
        for demo in file["data"].values():
            del demo[lacking]
    aligned(converted(libero, camera="agentview_rgb", flip="vertical").episodes, first=1)


def test_a_demonstration_of_libero_of_one_step_can_be_left_out(libero, converted, aligned):
    with h5py.File(libero, "a") as file:
        cut(file, "demo_1", 1)
    settings = {"camera": "agentview_rgb", "flip": "vertical"}
    refused(converted, libero, "demo_1: has 1 pictures, expected at least 2", **settings)
    aligned(converted(libero, **settings, skip_damaged=True).episodes, first=1, numbers=(0, 2))


@pytest.mark.parametrize("anew", [False, True])
@pytest.mark.parametrize("why", ["one step", "no motion", "no number"])
def test_joints_of_libero_that_tell_nothing_leave_it_to_the_next_demonstration(libero, converted, why, anew):
    with h5py.File(libero, "a") as file:
        for demo in file["data"].values() if anew else ():
            replace(demo, "obs/joint_states", demo["states"][:, 1:8])
        if why == "one step":
            cut(file, "demo_0", 1)
        else:
            file["data/demo_0/states"][:] = 0
            file["data/demo_0/obs/joint_states"][:] = 1 if why == "no motion" else np.nan
    made = converted(libero, camera="agentview_rgb", flip="vertical", skip_damaged=True)
    anew_said = "row t is the action taken from observation t"
    late_said = "recorded by LIBERO: observation t follows action t, and row t + 1 is the action taken from it"
    assert (anew_said in made.said, late_said in made.said) == (anew, not anew)
