"""The names of recordings and of the numbers of an action, which a dataset keeps."""

import json

import h5py
import numpy as np
import pytest

from lewm_data.store.dataset import Dataset
from lewm_data.store.source_names import sources_text
from lewm_data.store.verify import verify
from lewm_data.store.writer import Writer
from tests.data.convert.recordings import actions, converted, write_recording

pytest.importorskip("av")


def test_the_names_of_recordings_and_of_the_numbers_of_an_action_are_kept(tmp_path):
    for name in ("push-10", "push-2", "push-3"):
        write_recording(tmp_path / "in", name, 6)
    (tmp_path / "in" / "push-3.csv").write_text("dx,dy\n1,up\n")
    converted(tmp_path / "in", tmp_path / "out.h5", skip_damaged=True)
    with Dataset.open(tmp_path / "out.h5") as dataset:
        assert [dataset.source_of(episode) for episode in (0, 1)] == ["push-2.mp4", "push-10.mp4"]
        assert dataset.said(1) == "episode 1 (push-10.mp4)"
        assert dataset.action_names == ("dx", "dy")
    converted(tmp_path / "in", tmp_path / "part.h5", part=(3, 3))
    with Dataset.open(tmp_path / "part.h5") as dataset:
        assert dataset.source_of(0) == "push-10.mp4"
        assert json.loads(dataset.attributes["sources"]) == {"2": "push-10.mp4"}


def test_an_error_about_an_episode_names_its_recording(tmp_path):
    for name in "ab":
        write_recording(tmp_path / "in", name, 6)
    converted(tmp_path / "in", tmp_path / "out.h5")
    with h5py.File(tmp_path / "out.h5", "a") as file:
        file["pixels"][8] = 3
    with Dataset.open(tmp_path / "out.h5") as dataset:
        assert "the frame at step 2 of episode 1 (b.mp4) is not" in verify(dataset).first_difference


def test_numbers_of_an_action_without_names_have_none(tmp_path):
    write_recording(tmp_path / "in", "a", 6)
    (tmp_path / "in" / "a.csv").unlink()
    np.save(tmp_path / "in" / "a.npy", actions(6))
    *_, attributes = converted(tmp_path / "in", tmp_path / "out.h5")
    assert "action_names" not in attributes


def test_the_names_of_very_many_recordings_are_kept_and_too_many_are_left_out(tmp_path):
    names = {number: f"a folder/of recordings/push-{number}.mp4" for number in range(100_000)}
    with Writer.create(tmp_path / "a.h5", {"sources": sources_text(names)}) as writer:
        for number in (99_999, 7):
            made = {"pixels": np.zeros((2, 4, 4, 3), np.uint8), "action": np.zeros((2, 1), np.float32)}
            writer.write_episode(made | {"episode_idx": np.full(2, number, np.int32)})
    with Dataset.open(tmp_path / "a.h5") as dataset:
        assert [dataset.source_of(episode) for episode in (0, 1)] == [names[99_999], names[7]]
    assert sources_text(dict.fromkeys(range(100000), "x" * 200)) is None


@pytest.mark.parametrize(
    "stored", ["[]", "{", '{"0": 1}', '{"-1": "a", "x": "b"}', "[" * 10_000, '{"99999999999999999999999": "a"}', 7]
)
def test_names_of_others_that_are_none_say_nothing(tmp_path, stored):
    write_recording(tmp_path / "in", "a", 6)
    converted(tmp_path / "in", tmp_path / "out.h5")
    with h5py.File(tmp_path / "out.h5", "a") as file:
        file.attrs["sources"] = file.attrs["action_names"] = stored
    with Dataset.open(tmp_path / "out.h5") as dataset:
        assert dataset.source_of(0) is None
        assert dataset.action_names == ()
