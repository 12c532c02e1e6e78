"""Other projects' formats, written by their own libraries: every frame has its action, and what is said is right."""

import json
import shutil
import sys

import numpy as np
import pytest

from lewm_data.convert.convert import convert
from lewm_data.convert.formats import FORMATS
from lewm_data.convert.request import Request
from lewm_data.errors import DataError

for _needed in ("av", "pyarrow", "lance"):
    pytest.importorskip(_needed)

EQUAL = "as many actions as pictures: no picture follows the last one of an episode, which is left out"
ONE_MORE = "one picture more than actions: the last picture of an episode has none"
NO_CLOCK = "no clock: how fast it was recorded is not known"
STRETCHED = "pictures of 64 x 48 become frames of 48 x 48, stretched"
HALVED = "pictures of 32 x 24 become frames of 24 x 24, stretched"
LEROBOT = (
    "actions: first, second (2 numbers), in the robot's units",
    "columns kept: observation.state, reward",
    "left out: index, task_index, the words of the tasks",
    "row t is the action sent after picture t was taken",
    STRETCHED,
    EQUAL,
    "10 steps a second, as recorded",
)
ALOHA = (
    "actions: action (2 numbers), as sent to the motors",
    "columns kept: effort, qpos, qvel",
    "row t is the action sent after picture t was taken",
)
ALOHA_COLORS = "colours as they are stored (--color-order bgr exchanges red and blue, if they look exchanged)"
ALOHA_RATE = "the rate is not in the files: ALOHA records 50 steps a second (--fps 50 says so)"
UPRIGHT = "pictures as they are stored (--flip vertical turns them over, if they are upside down)"
DINO_WM = (
    "camera obses, the only one",
    "actions: rel_actions.pth (2 numbers), divided by 100",
    "columns kept: states, velocities",
    "left out: seq_lengths.pkl, which is a pickle: an episode is as long as its video",
    "row t is the action taken from picture t",
)
DINO_WM_RATE = "the rate of the videos is not taken for that of the steps"
WORLD = ("camera pixels, the only one", "actions: action (2 numbers), in the units of the source")
MOVED = "rewards move up by one row: a row has that of the action before it"
RELEASED = (
    "row t is the action taken from picture t",
    "recorded by stable-worldmodel 0.1.1: the picture of the reset is missing",
    "the action in an episode's last row is its first one, which 0.1.1 leaves there, and is not used",
    MOVED,
    HALVED,
    EQUAL,
    NO_CLOCK,
)
CURRENT = ("row t is the action taken from picture t", MOVED)

MINARI = (
    "camera image, the only one",
    "actions: actions (2 numbers), in the environment's units",
    "columns kept: observation.state, reward",
    "row t is the action taken from observation t",
    STRETCHED,
    ONE_MORE,
    NO_CLOCK,
)
MINARI_RAW = ("camera cameras.wrist; left out: image", *MINARI[1:4], HALVED, ONE_MORE, NO_CLOCK)

# source -> its format, the camera that is asked for, the one that is shown, the first step, and what is said
SAID = {
    "lerobot-v2.1/recording": (
        "LeRobot v2.1",
        "front",
        "front",
        0,
        ("camera observation.images.front; left out: observation.images.wrist", *LEROBOT),
    ),
    "lerobot-v3/recording": (
        "LeRobot v3.0",
        "observation.images.front",
        "front",
        0,
        ("camera observation.images.front; left out: observation.images.wrist", *LEROBOT),
    ),
    "lerobot-v3/recording-split": (
        "LeRobot v3.0",
        None,
        "front",
        0,
        ("camera observation.images.front, the only one", *LEROBOT),
    ),
    "aloha/recording": (
        "ALOHA",
        "cam_high",
        "front",
        0,
        ("camera cam_high; left out: cam_left_wrist", *ALOHA, ALOHA_RATE, ALOHA_COLORS, STRETCHED, EQUAL, NO_CLOCK),
    ),
    "aloha/recording-jpeg": (
        "ALOHA",
        "cam_left_wrist",
        "wrist",
        0,
        (
            "camera cam_left_wrist; left out: cam_high",
            *ALOHA,
            ALOHA_RATE,
            "red and blue of the JPEG rows are exchanged, as ALOHA's recorder stores and its loader reads them "
            "(--color-order rgb leaves them as they are)",
            STRETCHED,
            EQUAL,
            NO_CLOCK,
        ),
    ),
    "robomimic/image.hdf5": (
        "robomimic",
        "agentview_image",
        "front",
        0,
        (
            "camera agentview_image; left out: robot0_eye_in_hand_image",
            "actions: actions (2 numbers), in the units of the source",
            "columns kept: robot0_eef_pos, reward",
            "left out: dones, states",
            "row t is the action taken from observation t",
            "the picture after an episode's last action is that of next_obs",
            UPRIGHT,
            STRETCHED,
            ONE_MORE,
            "20 steps a second, as recorded",
        ),
    ),
    "robomimic/image_compact.hdf5": (
        "robomimic",
        "robot0_eye_in_hand_image",
        "wrist",
        0,
        (
            "camera robot0_eye_in_hand_image; left out: agentview_image",
            "actions: actions (2 numbers), in the units of the source",
            "columns kept: robot0_eef_pos, states, reward",
            "left out: dones",
            "row t is the action taken from observation t",
            UPRIGHT,
            STRETCHED,
            EQUAL,
            "20 steps a second, as recorded",
        ),
    ),
    "libero/demo.hdf5": (
        "robomimic",
        "eye_in_hand_rgb",
        "wrist",
        1,
        (
            "camera eye_in_hand_rgb; left out: agentview_rgb",
            "actions: actions (2 numbers), in the units of the source",
            "columns kept: ee_pos, ee_states, gripper_states, joint_states, reward",
            "left out: dones, robot_states, states",
            "recorded by LIBERO: observation t follows action t, and row t + 1 is the action taken from it",
            "rows run from the bottom to the top in the source, as you say: they are turned over",
            HALVED,
            ONE_MORE,
            "20 steps a second, as recorded",
        ),
    ),
    "minari/recording": ("Minari", None, "front", 0, MINARI),
    "minari/recording-raw": ("Minari", "wrist", "wrist", 0, MINARI_RAW),
    "minari/recording-arrow": ("Minari", None, "front", 0, MINARI),
    "minari/recording-raw-arrow": ("Minari", "wrist", "wrist", 0, MINARI_RAW),
    "minari/recording-parquet": ("Minari", None, "front", 0, MINARI),
    "minari/recording-raw-parquet": ("Minari", "wrist", "wrist", 0, MINARI_RAW),
    "ogbench/recording.npz": (
        "OGBench",
        None,
        "front",
        0,
        (
            "camera observations, the only one",
            "actions: actions (2 numbers), in the environment's units",
            "columns kept: qpos",
            "row t is the action taken from observation t; an episode ends where terminals is true",
            STRETCHED,
            EQUAL,
            NO_CLOCK,
        ),
    ),
    "dino-wm/recording": (
        "DINO-WM",
        None,
        "front",
        0,
        (*DINO_WM, "train: 2 episodes; val: 1 episodes, together", DINO_WM_RATE, STRETCHED, EQUAL, NO_CLOCK),
    ),
    "stable-worldmodel/released.h5": (
        "stable-worldmodel",
        None,
        "front",
        1,
        (
            *WORLD,
            "columns kept: goal.state, reward, state",
            "left out: id, render_time, terminated, truncated, step_idx",
            *RELEASED,
        ),
    ),
    "stable-worldmodel/released.lance": (
        "stable-worldmodel",
        None,
        "front",
        1,
        (
            *WORLD,
            "columns kept: goal_state, state, reward",
            "left out: id, render_time, terminated, truncated, step_idx",
            *RELEASED,
        ),
    ),
    "stable-worldmodel/current.h5": (
        "stable-worldmodel",
        None,
        "front",
        0,
        (
            *WORLD,
            "columns kept: goal.state, reward, state",
            "left out: terminated, truncated, step_idx",
            *CURRENT,
            HALVED,
            EQUAL,
            NO_CLOCK,
        ),
    ),
    "stable-worldmodel/current.lance": (
        "stable-worldmodel",
        None,
        "front",
        0,
        (
            *WORLD,
            "columns kept: reward, state, goal_state",
            "left out: terminated, truncated, step_idx",
            *CURRENT,
            HALVED,
            EQUAL,
            NO_CLOCK,
        ),
    ),
    "stable-worldmodel/current-folder": (
        "stable-worldmodel",
        None,
        "front",
        0,
        (
            *WORLD,
            "columns kept: goal.state, reward, state",
            "left out: terminated, truncated, step_idx",
            *CURRENT,
            STRETCHED,
            EQUAL,
            NO_CLOCK,
        ),
    ),
    "stable-worldmodel/current-video": (
        "stable-worldmodel",
        None,
        "front",
        0,
        (
            *WORLD,
            "columns kept: goal.state, reward, state",
            "left out: terminated, truncated, step_idx",
            *CURRENT,
            STRETCHED,
            EQUAL,
            NO_CLOCK,
        ),
    ),
}
STATES = {  # the column that holds the scene's state
    "lerobot": "observation.state",
    "aloha": "qpos",
    "robomimic": "robot0_eef_pos",
    "libero": "ee_pos",
    "minari": "observation.state",
    "ogbench": "qpos",
    "dino-wm": "states",
    "stable-worldmodel": "state",
}
RAW = ("minari/recording-raw", "minari/recording-raw-arrow", "minari/recording-raw-parquet")
NUMBERS = dict.fromkeys(RAW, (0,))  # episodes, where they are not all
OPTIONS = {"libero/demo.hdf5": {"flip": "vertical"}}


@pytest.mark.parametrize("name", SAID)
def test_every_frame_has_its_action_and_its_state_and_what_is_said_is_right(name, fixtures, scene, converted, aligned):
    expected_format, camera, shown, first, said = SAID[name]
    made = converted(fixtures / name, camera=camera, **OPTIONS.get(name, {}))
    assert made.format == expected_format
    assert made.said == said
    numbers = NUMBERS.get(name, (0, 1, 2))
    aligned(made.episodes, shown, first, numbers)
    column = next(one for prefix, one in STATES.items() if name.startswith(prefix))
    for number, episode in zip(numbers, made.episodes, strict=True):
        expected = [scene.state(number, step) for step in range(first, scene.LENGTHS[number])]
        np.testing.assert_allclose(episode[column][:, :3], expected)
        assert np.isfinite(episode[column]).all()


@pytest.mark.parametrize("name", [name for name, about in SAID.items() if any("reward" in one for one in about[4])])
def test_a_reward_belongs_to_the_action_of_its_row(name, fixtures, scene, converted):
    made = converted(fixtures / name, camera=SAID[name][1])
    first = SAID[name][3]
    for episode in made.episodes:
        steps = np.arange(first, first + len(episode["reward"]) - 1)
        if name.startswith("libero"):
            expected = steps == steps[-1]
        else:
            expected = steps / 100 if name.startswith("robomimic") else (steps + 1) / 100
        np.testing.assert_allclose(episode["reward"][:-1], expected, atol=1e-6)
        assert episode["reward"][-1] == 0


@pytest.mark.parametrize("name", SAID)
def test_only_its_own_format_recognises_a_source(name, fixtures):
    first = next(one for one in FORMATS if one.recognises(fixtures / name))
    others = [one.name for one in FORMATS if one is not first and one.recognises(fixtures / name)]
    # A folder with videos in it is a folder of videos, too; that comes last.
    assert others in ([], [FORMATS[-1].name])


@pytest.mark.parametrize("name", ["lerobot-v3/recording", "aloha/recording", "robomimic/image.hdf5"])
def test_of_several_cameras_one_has_to_be_named(name, fixtures, tmp_path):
    with pytest.raises(DataError, match=r"has 2 cameras: .*\nName one: --camera "):
        convert(Request(fixtures / name, tmp_path / "out.h5"))


@pytest.mark.parametrize("name", [name for name in SAID if name not in NUMBERS])
def test_parts_and_interruptions_begin_where_an_episode_does(name, fixtures, converted, aligned):
    _, camera, shown, first, _ = SAID[name]
    options = {"camera": camera, **OPTIONS.get(name, {})}
    aligned(converted(fixtures / name, **options, part=(3, 3)).episodes, shown, first, (2,))
    aligned(converted(fixtures / name, **options, part=(1, 3)).episodes, shown, first, (0,))


def test_a_stated_rate_resamples_frames_and_actions_alike(fixtures, scene, converted):
    made = converted(fixtures / "lerobot-v3" / "recording", camera="front", fps=5.0)
    assert made.attributes["fps"] == 5
    for number, episode in enumerate(made.episodes):
        steps = range(0, scene.LENGTHS[number], 2)
        assert [scene.read(frame) for frame in episode["pixels"]] == [(number, step) for step in steps]
        expected = [scene.action(number, step) for step in steps[:-1]]
        np.testing.assert_allclose(episode["action"][:-1], expected, atol=1e-6)


def test_nothing_of_a_source_changes(fixtures, tmp_path, converted):
    copy = tmp_path / "aloha"
    shutil.copytree(fixtures / "aloha" / "recording", copy)
    before = {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in copy.iterdir()}
    converted(copy, camera="cam_high")
    assert {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in copy.iterdir()} == before


@pytest.mark.parametrize(
    ("name", "module"),
    [("lerobot-v3/recording", "pyarrow.parquet"), ("stable-worldmodel/current.lance", "lance")],
)
def test_a_missing_package_is_named_with_the_extra_that_brings_it(name, module, fixtures, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DataError, match=r"is not installed\n.*\[formats\]"):
        convert(Request(fixtures / name, tmp_path / "out.h5", camera=SAID[name][1]))


@pytest.mark.parametrize(
    ("name", "camera", "sources", "names"),
    [
        ("lerobot-v2.1/recording", "front", ["episode 0", "episode 1", "episode 2"], ["first", "second"]),
        ("robomimic/image.hdf5", "agentview_image", ["demo_0", "demo_2", "demo_10"], None),
        ("aloha/recording", "cam_high", ["episode_0.hdf5", "episode_1.hdf5", "episode_2.hdf5"], None),
    ],
)
def test_where_an_episode_is_from_and_what_an_action_is_are_kept(name, camera, sources, names, fixtures, converted):
    attributes = converted(fixtures / name, camera=camera).attributes
    assert json.loads(attributes["sources"]) == {str(number): one for number, one in enumerate(sources)}
    assert json.loads(attributes.get("action_names", "null")) == names
