"""OGBench's, DINO-WM's and stable-worldmodel's arrays where they are unusual, incomplete or hostile."""

import pickle
import shutil
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from lewm_data.convert.convert import convert
from lewm_data.convert.ogbench import recognises
from lewm_data.convert.request import Request
from lewm_data.errors import DataError

pytest.importorskip("av")
torch = pytest.importorskip("torch")

RAN = []


class Program:
    """A pickle that would do something."""

    def __reduce__(self):
        return RAN.append, ("ran",)


@pytest.fixture
def arrays(fixtures):
    with np.load(fixtures / "ogbench" / "recording.npz") as stored:
        return dict(stored)


@pytest.fixture
def dino_wm(fixtures, tmp_path):
    return shutil.copytree(fixtures / "dino-wm" / "recording" / "train", tmp_path / "train")


@pytest.fixture
def world(fixtures, tmp_path):
    def copy(name):
        made = tmp_path / name
        source = fixtures / "stable-worldmodel" / name
        return Path(shutil.copytree(source, made) if source.is_dir() else shutil.copy(source, made))

    return copy


@pytest.fixture(autouse=True)
def no_program_ran():
    RAN.clear()
    yield
    assert RAN == []


def refused(converted, path, *words, **settings):
    """The error of a conversion, which names all of the words."""
    with pytest.raises(DataError) as caught:
        converted(path, **settings)
    assert all(word in caught.value.problem for word in words), caught.value.problem
    return caught.value


def test_rows_after_the_last_end_are_an_episode(arrays, tmp_path, converted, aligned):
    arrays["terminals"][-1] = False
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    aligned(converted(tmp_path / "a.npz").episodes)


def test_arrays_that_are_stored_as_they_are_are_read(arrays, tmp_path, converted, aligned):
    np.savez(tmp_path / "a.npz", **arrays)
    aligned(converted(tmp_path / "a.npz").episodes)


def test_a_pickle_in_an_npz_file_is_left_out(arrays, tmp_path, converted, aligned):
    arrays["notes"] = np.array([Program()] * 3, object)
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    made = converted(tmp_path / "a.npz")
    aligned(made.episodes)
    assert "left out: notes" in made.said


def test_a_map_in_an_npz_file_is_left_out(arrays, tmp_path, converted, aligned):
    arrays["heights"] = np.zeros((len(arrays["terminals"]), 48, 64), np.float32)
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    made = converted(tmp_path / "a.npz")
    aligned(made.episodes)
    assert "left out: heights" in made.said


@pytest.mark.parametrize("name", ["observations", "actions", "terminals"])
def test_a_pickle_in_the_place_of_an_array_is_refused(arrays, tmp_path, converted, name):
    arrays[name] = np.array([Program()] * 51, object)
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    refused(converted, tmp_path / "a.npz", "a.npz")


def test_arrays_of_other_lengths_are_refused(arrays, tmp_path, converted):
    arrays["qpos"] = arrays["qpos"][:-1]
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    refused(converted, tmp_path / "a.npz", "'qpos' has 50 rows, observations 51")


@pytest.mark.parametrize("shape", [(51, 12), (51, 24, 32, 4), (51, 24, 32, 0), (51, 2, 24, 32, 6), (51, 0, 24, 32, 3)])
def test_observations_that_are_no_pictures_are_refused(arrays, tmp_path, converted, shape):
    arrays["observations"] = np.zeros(shape, np.uint8)
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    assert "visual" in refused(converted, tmp_path / "a.npz", "expected pictures").remedy


@pytest.mark.parametrize(
    ("stacked", "cameras"),
    [
        (lambda front, wrist: np.concatenate([front, wrist], axis=-1), ("channels-0-2", "channels-3-5")),
        (lambda front, wrist: np.stack([front, wrist], axis=1), ("view-0", "view-1")),
    ],
)
def test_one_of_several_views_is_chosen(arrays, tmp_path, scene, converted, aligned, stacked, cameras):
    wrist = np.concatenate([scene.frames(episode, camera="wrist") for episode in range(3)])
    arrays["observations"] = stacked(arrays["observations"], wrist)
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    for camera, other, shown in zip(cameras, cameras[::-1], ("front", "wrist"), strict=True):
        made = converted(tmp_path / "a.npz", camera=camera)
        aligned(made.episodes, shown)
        assert made.said[0] == f"camera {camera}; left out: {other}"
    error = refused(converted, tmp_path / "a.npz", f"has 2 cameras: {', '.join(cameras)}")
    assert error.remedy == f"Name one: --camera {cameras[0]}"


@pytest.mark.parametrize(("camera", "channels"), [("channels-0-2", np.s_[:3]), ("channels-3-5", np.s_[3:])])
def test_powderworld_is_two_pictures_and_a_choice(fixtures, converted, camera, channels):
    made = converted(fixtures / "ogbench" / "powderworld.npz", camera=camera)
    with np.load(fixtures / "ogbench" / "powderworld.npz") as stored:
        observations, actions = stored["observations"], stored["actions"]
    for episode, rows in zip(made.episodes, (slice(0, 10), slice(10, 23)), strict=True):
        np.testing.assert_array_equal(episode["pixels"], observations[rows][..., channels])
        np.testing.assert_array_equal(episode["action"][:-1], np.eye(8)[actions[rows]][:-1])
        assert np.isnan(episode["action"][-1]).all()
    assert made.said[1:3] == (
        "actions: actions (8 numbers), a choice, as a one-hot vector: options up to the greatest in the file",
        "of Powderworld's six channels, 0 to 2 show the world, 3 to 5 what is about to be placed in it",
    )


@pytest.mark.parametrize("actions", [np.full(51, -1), np.full(51, 10**9)])
def test_choices_without_end_are_refused(arrays, tmp_path, converted, actions):
    arrays["actions"] = actions
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    refused(converted, tmp_path / "a.npz", "options")


def test_a_damaged_npz_file_is_named(fixtures, tmp_path, converted):
    content = bytearray((fixtures / "ogbench" / "recording.npz").read_bytes())
    for start in range(200, 1200, 100):
        content[start : start + 20] = bytes(20)
    (tmp_path / "a.npz").write_bytes(content)
    refused(converted, tmp_path / "a.npz", "a.npz")


def test_a_header_that_claims_more_rows_than_follow_is_noticed(arrays, tmp_path, converted):
    arrays["actions"] = np.zeros((10**6, 2), np.float32)
    arrays["terminals"] = np.arange(10**6) == 10**6 - 1
    del arrays["qpos"]
    observations = arrays.pop("observations")
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive, archive.open("observations.npy", "w") as stream:
        about = {"shape": (10**6, *observations.shape[1:]), "fortran_order": False, "descr": "|u1"}
        np.lib.format.write_array_header_1_0(stream, about)
        stream.write(observations.tobytes())
    refused(converted, tmp_path / "a.npz", "'observations' ends too early")


def test_a_truncated_npz_file_is_in_no_format(fixtures, tmp_path):
    content = (fixtures / "ogbench" / "recording.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(content[:-100])
    assert not recognises(tmp_path / "a.npz")


def test_the_pickle_of_lengths_is_never_opened(dino_wm, converted, aligned):
    (dino_wm / "seq_lengths.pkl").write_bytes(pickle.dumps(Program()))
    aligned(converted(dino_wm).episodes, numbers=(0, 1))


def test_a_pickle_that_is_named_as_a_tensor_is_refused(dino_wm, converted):
    torch.save([Program()], dino_wm / "rel_actions.pth")
    refused(converted, dino_wm, "rel_actions.pth")
    (dino_wm / "rel_actions.pth").write_bytes(pickle.dumps(Program()))
    refused(converted, dino_wm, "rel_actions.pth")


@pytest.mark.parametrize("values", [{}, "text", torch.zeros(2, 19), torch.zeros(2, 19, 2, dtype=torch.int64)])
def test_what_is_no_tensor_of_episodes_is_refused(dino_wm, converted, values):
    torch.save(values, dino_wm / "rel_actions.pth")
    refused(converted, dino_wm, "rel_actions.pth")


def test_a_tensor_that_repeats_a_few_numbers_takes_no_memory(dino_wm, converted, aligned):
    actions = torch.load(dino_wm / "rel_actions.pth")
    states = torch.zeros(1).expand(len(actions), 10**12, 5)  # 40 TB if it were unpacked
    torch.save(states, dino_wm / "states.pth")
    aligned(converted(dino_wm).episodes, numbers=(0, 1))


def test_a_compressed_tensor_is_measured_before_it_is_unpacked(dino_wm, converted, monkeypatch):
    torch.save(torch.zeros(2, 10**6, 2), dino_wm / "whole.pth")
    with (
        zipfile.ZipFile(dino_wm / "whole.pth") as whole,
        zipfile.ZipFile(dino_wm / "rel_actions.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in whole.namelist():
            packed.writestr(name, whole.read(name))
    most = 1 << 20
    assert (dino_wm / "rel_actions.pth").stat().st_size < most
    monkeypatch.setattr("lewm_data.convert.dino_wm.memory_limit", lambda: most)
    refused(converted, dino_wm, "rel_actions.pth: unpacks to 16,0", "bytes, at most 1,048,576 fit here")


def test_absolute_actions_are_taken_where_there_are_no_relative_ones(dino_wm, converted, aligned):
    (dino_wm / "rel_actions.pth").rename(dino_wm / "abs_actions.pth")
    made = converted(dino_wm)
    aligned(made.episodes, numbers=(0, 1))
    assert made.said[1] == "actions: abs_actions.pth (2 numbers), divided by 100"
    (dino_wm / "abs_actions.pth").unlink()
    refused(converted, dino_wm, "has no rel_actions.pth")


def test_a_video_longer_than_the_tensors_is_refused(dino_wm, fixtures, converted):
    longer = fixtures / "dino-wm" / "recording" / "val" / "obses" / "episode_000.mp4"
    shutil.copy(longer, dino_wm / "obses" / "episode_001.mp4")
    refused(converted, dino_wm, "episode_001.mp4: has 25 pictures")


def test_a_missing_video_is_no_episode_and_moves_no_other(dino_wm, converted, aligned):
    (dino_wm / "obses" / "episode_000.mp4").unlink()
    aligned(converted(dino_wm).episodes, numbers=(1,))


def test_a_truncated_video_is_named(dino_wm, converted):
    video = dino_wm / "obses" / "episode_001.mp4"
    video.write_bytes(video.read_bytes()[:-1000])
    refused(converted, dino_wm, "episode_001.mp4")


def test_a_dataset_of_lewm_is_not_converted_again(world, converted, tmp_path):
    made = tmp_path / "made.h5"
    convert(Request(world("current.h5"), made))
    assert "lewm train" in refused(converted, made, "is a dataset of lewm already").remedy


def test_pictures_of_the_goal_are_no_camera(world, converted, aligned):
    path = world("current.h5")
    with h5py.File(path, "a") as file:
        file["goal"] = file["pixels"][:]
    made = converted(path)
    aligned(made.episodes)
    assert made.said[0] == "camera pixels, the only one"
    assert made.said[3] == "left out: terminated, truncated, step_idx, goal"


def test_several_cameras_of_a_world(world, converted, aligned):
    path = world("current.h5")
    with h5py.File(path, "a") as file:
        file.move("pixels", "pixels.front")
        file["pixels.back"] = np.zeros_like(file["pixels.front"])
    made = converted(path, camera="front")
    aligned(made.episodes)
    assert made.said[0] == "camera pixels.front; left out: pixels.back"


def test_rewards_that_someone_else_recorded_stay_where_they_are(world, scene, converted):
    path = world("current.h5")
    with h5py.File(path, "a") as file:
        file["reward"][:] = np.concatenate([scene.actions(number)[:, 1] for number in range(3)])
    for episode in converted(path).episodes:
        np.testing.assert_allclose(episode["reward"][:-1], episode["action"][:-1, 1], atol=1e-6)


def test_text_is_left_out(world, converted, aligned):
    path = world("current.h5")
    with h5py.File(path, "a") as file:
        file["task"] = ["push"] * 51
    made = converted(path)
    aligned(made.episodes)
    assert made.said[3] == "left out: terminated, truncated, step_idx, task"


def test_episodes_that_leave_a_gap_are_refused(world, converted):
    path = world("current.h5")
    with h5py.File(path, "a") as file:
        file["ep_offset"][1] = 9
    refused(converted, path, "current.h5", "episodes overlap or leave a gap")


def test_a_missing_picture_of_a_folder_is_named(world, converted):
    path = world("current-folder")
    (path / "pixels" / "ep_1_step_4.jpeg").unlink()
    refused(converted, path, "ep_1_step_4.jpeg")


def test_a_video_of_another_length_is_named(world, converted):
    path = world("current-video")
    shutil.copy(path / "pixels" / "ep_2.mp4", path / "pixels" / "ep_1.mp4")
    refused(converted, path, "ep_1.mp4: has 25 pictures, expected 19")


def test_a_pickle_among_the_columns_is_left_out(world, converted, aligned):
    path = world("current-folder")
    np.savez(path / "notes.npz", np.array([Program()] * 51, object))
    made = converted(path)
    aligned(made.episodes)
    assert made.said[3] == "left out: terminated, truncated, step_idx, notes"


def test_a_folder_without_actions_is_refused(world, converted):
    path = world("current-folder")
    (path / "action.npz").unlink()
    refused(converted, path, "has no actions")
