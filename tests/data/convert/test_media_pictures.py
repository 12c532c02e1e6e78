"""Pictures of several sizes, and of pixels that are not square, as frames of one dataset."""

from fractions import Fraction

import pytest

from lewm_data.video.video_writer import write_video
from tests.data.convert.recordings import actions, converted, frames, write_recording, write_table

av = pytest.importorskip("av")


def test_pictures_of_different_sizes_are_all_told(tmp_path, caplog):
    for name, sides in (("a", (48, 64)), ("b", (64, 48)), ("c", (48, 64)), ("d", (48, 48))):
        (tmp_path / "in").mkdir(exist_ok=True)
        write_table(tmp_path / "in" / f"{name}.csv", actions(5))
        write_video(tmp_path / "in" / f"{name}.mp4", frames(5, sides), 10.0)
    _, said, episodes, _ = converted(tmp_path / "in", tmp_path / "out.h5", fit="letterbox")
    assert said[2:6] == (
        "3 sizes of pictures: 64 x 48 in 2 episodes, 48 x 64 in 1 episodes, 48 x 48 in 1 episodes",
        "pictures of 64 x 48 become frames of 48 x 48, with black bars above and below",
        "pictures of 48 x 64 become frames of 48 x 48, with black bars left and right",
        "frames of 48 x 48, as recorded",
    )
    assert (episodes[1]["pixels"][:, :, :4] == 0).all()  # the bars
    assert not caplog.messages  # what was said before is not said again for each episode
    _, said, _, _ = converted(tmp_path / "in", tmp_path / "part.h5", fit="letterbox", part=(4, 4))
    assert said[2] == "frames of 48 x 48, as recorded"  # a part tells its own


def test_of_many_recordings_some_are_looked_at_and_other_sizes_are_told_when_they_come(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("lewm_data.convert.assumptions.MOST_LOOKED_AT", 3)
    for name, sides in zip("abcdef", ((48, 64), (48, 48), (64, 48), (48, 48), (48, 64), (48, 48)), strict=True):
        (tmp_path / "in").mkdir(exist_ok=True)
        write_table(tmp_path / "in" / f"{name}.csv", actions(5))
        write_video(tmp_path / "in" / f"{name}.mp4", frames(5, sides), 10.0)
    _, said, episodes, _ = converted(tmp_path / "in", tmp_path / "out.h5", fit="letterbox")
    assert len(episodes) == 6
    assert said[2] == "2 sizes of pictures: 64 x 48 in 2 episodes, 48 x 64 in 1 episodes, of 3 that were looked at"
    (told,) = caplog.messages  # once, and not in each of the three episodes
    assert told.endswith("b.mp4: frames of 48 x 48, as recorded")


def write_anamorphic(path, rows, shape):
    """A video of 48 x 48 pixels that are `shape` times as wide as high."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "10"})
        stream.height, stream.width, stream.pix_fmt = 48, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = shape
        for frame in frames(rows, (48, 48)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def test_pixels_that_are_not_square_are_made_so_and_it_is_said(tmp_path):
    write_recording(tmp_path / "in", "a", 5)
    write_anamorphic(tmp_path / "in" / "a.mp4", 5, Fraction(4, 3))
    _, said, (episode,), _ = converted(tmp_path / "in", tmp_path / "out.h5", fit="letterbox")
    assert said[2:4] == (
        "pixels are not square: pictures of 48 x 48 are shown as 64 x 48, as their file asks for",
        "pictures of 64 x 48 become frames of 48 x 48, with black bars above and below",
    )
    assert (episode["pixels"][:, :4] == 0).all()  # the bars
    assert (episode["pixels"][:, 8:40].mean(axis=(1, 2, 3)) > 20).all()
