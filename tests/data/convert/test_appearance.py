"""Colours that are exchanged and pictures that are upside down: said, turned by an option, and kept in the dataset."""

import json

import h5py
import numpy as np
import pytest

from lewm_data.convert.appearance import FLIPS, Appearance
from lewm_data.convert.begun import OtherError
from lewm_data.convert.convert import convert
from lewm_data.convert.request import Request
from lewm_data.errors import DataError
from lewm_data.store.dataset import Dataset

pytest.importorskip("av")

FRONT = {"lerobot-v3/recording": "front", "aloha/recording": "cam_high", "robomimic/image.hdf5": "agentview_image"}
TURNED = {"vertical": np.s_[:, ::-1], "horizontal": np.s_[:, :, ::-1], "both": np.s_[:, ::-1, ::-1]}


@pytest.mark.parametrize("flip", FLIPS)
@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_a_correction_undoes_itself_and_is_what_it_is_called(scene, flip, order):
    frame = scene.frame(1, 6)
    once = Appearance(order, flip).corrected(frame)
    np.testing.assert_array_equal(Appearance(order, flip).corrected(once), frame)
    expected = frame[..., ::-1] if order == "bgr" else frame
    np.testing.assert_array_equal(once, expected if flip == "none" else expected[TURNED[flip][1:]])


@pytest.mark.parametrize("name", [*FRONT, "minari/recording", "ogbench/recording.npz", "dino-wm/recording"])
def test_both_options_are_for_every_format(name, fixtures, converted):
    plain = converted(fixtures / name, camera=FRONT.get(name))
    turned = converted(fixtures / name, camera=FRONT.get(name), flip="both", color_order="bgr")
    for before, after in zip(plain.episodes, turned.episodes, strict=True):
        np.testing.assert_array_equal(after["pixels"], before["pixels"][:, ::-1, ::-1, ::-1])
        np.testing.assert_array_equal(after["action"], before["action"])
    assert (plain.attributes["flip"], plain.attributes["color_order"]) == ("none", "rgb")
    assert (turned.attributes["flip"], turned.attributes["color_order"]) == ("both", "bgr")
    assert "colours in the order blue, green, red, as you say" in turned.said
    assert "pictures stand on their head in the source, as you say: they are turned over" in turned.said


def test_jpeg_rows_of_aloha_that_another_recorder_made_keep_their_colours(fixtures, scene, converted, aligned):
    """Its file has the lengths that ALOHA's own recorder adds, so that only the user can know."""
    source = fixtures / "aloha" / "recording-jpeg-bgr"
    exchanged = converted(source)
    with pytest.raises(ValueError, match="The background is"):
        scene.camera(exchanged.episodes[0]["pixels"][0])
    assert any("--color-order rgb" in one for one in exchanged.said)
    made = converted(source, color_order="rgb")
    aligned(made.episodes, numbers=(0,))
    assert made.attributes["color_order"] == "rgb"


def test_jpeg_rows_of_alohas_recorder_are_marked_as_exchanged(fixtures, converted):
    made = converted(fixtures / "aloha" / "recording-jpeg", camera="cam_high")
    assert made.attributes["color_order"] == "bgr"
    assert json.loads(made.attributes["conversion"])["color_order"] == "bgr"


def test_liberos_pictures_are_said_to_be_upside_down_and_left_so(fixtures, scene, converted):
    made = converted(fixtures / "libero" / "demo.hdf5", camera="agentview_rgb")
    said = "pictures as they are stored, although the file says that they are upside down"
    assert f"{said} (--flip vertical turns them over)" in made.said
    assert scene.read(made.episodes[1]["pixels"][3][::-1]) == (1, 4)


def test_a_conversion_goes_on_only_with_the_same_correction(fixtures, tmp_path):
    out, source = tmp_path / "out.h5", fixtures / "robomimic" / "image.hdf5"
    with h5py.File(source) as file:
        rows = len(file["data/demo_0/actions"]) + 1

    class StopError(Exception):
        pass

    def stop(episodes, share):
        if episodes == 1:
            raise StopError

    request = {"source": source, "out": out, "camera": "agentview_image", "flip": "vertical"}
    with pytest.raises(StopError):
        convert(Request(**request), on_rows=stop)
    for other in ({"flip": "none"}, {"color_order": "bgr"}):
        with pytest.raises(OtherError, match="is not of this conversion"):
            convert(Request(**request | other))
    plans = []
    convert(Request(**request, color_order="rgb"), plans.append)  # what the format says, said once more
    assert plans[0].done == 1
    with Dataset.open(out) as dataset:
        assert len(dataset.episode(0)["pixels"]) == rows
        assert dataset.num_episodes == 3


@pytest.mark.parametrize("options", [{"color_order": "grb"}, {"flip": "upright"}])
def test_other_words_are_refused(options, fixtures, tmp_path):
    with pytest.raises(DataError, match="unknown"):
        convert(Request(fixtures / "ogbench" / "recording.npz", tmp_path / "out.h5", **options))
