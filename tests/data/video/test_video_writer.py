import av
import numpy as np
import pytest

from lewm_data.errors import DataError
from lewm_data.video.video_writer import VideoWriter, write_video

RAMP = np.repeat(np.arange(12, dtype=np.uint8)[:, None, None, None] * 20, 3, 3) + np.zeros((1, 32, 48, 1), np.uint8)


def read(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream, [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(stream)]


@pytest.mark.parametrize(("ending", "tolerance"), [("mp4", 3), ("gif", 0)])
def test_frames_come_back_at_their_times(tmp_path, ending, tolerance):
    write_video(tmp_path / f"a.{ending}", RAMP, 5.0)
    _, found = read(tmp_path / f"a.{ending}")
    np.testing.assert_allclose([time for time, _ in found], np.arange(12) / 5, atol=1e-9)
    np.testing.assert_allclose(np.stack([frame for _, frame in found]).astype(int), RAMP, atol=tolerance)
    assert [file.name for file in tmp_path.iterdir()] == [f"a.{ending}"]


def test_broadcast_rates_are_exact(tmp_path):
    write_video(tmp_path / "a.mp4", RAMP, 30000 / 1001)
    stream, _ = read(tmp_path / "a.mp4")
    assert (stream.average_rate.numerator, stream.average_rate.denominator) == (30000, 1001)


def test_a_streamed_video_is_the_same_file(tmp_path):
    write_video(tmp_path / "whole.mp4", RAMP, 10.0)
    with VideoWriter(tmp_path / "streamed.mp4", 10.0) as video:
        for frame in RAMP:
            video.write(frame)
        assert not (tmp_path / "streamed.mp4").exists()
    assert (tmp_path / "streamed.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), VideoWriter(path, 10.0) as video:
        video.write(RAMP[1 // 0])
    with pytest.raises(DataError, match="without a frame"), VideoWriter(path, 10.0):
        pass
    with pytest.raises(DataError, match=r"frames of 48 x 31\nH\.264 needs even sides"):
        write_video(path, RAMP[:, :31], 10.0)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_frames_of_another_size(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", 10.0) as video:
        video.write(RAMP[0])
        with pytest.raises(DataError, match="frame 1 is 48 x 16, expected 48 x 32 as the first"):
            video.write(RAMP[0, :16])
    assert len(read(tmp_path / "a.mp4")[1]) == 1


@pytest.mark.parametrize("ending", ["mp4", "gif"])
def test_nothing_to_write(tmp_path, ending):
    with pytest.raises(DataError, match="without a frame"):
        write_video(tmp_path / f"a.{ending}", RAMP[:0], 10.0)


def test_other_endings(tmp_path):
    with pytest.raises(DataError, match='unknown video ending "mp5"\nDid you mean "mp4"'):
        write_video(tmp_path / "a.mp5", RAMP, 10.0)
    with pytest.raises(DataError, match='unknown video ending "gif"'):
        VideoWriter(tmp_path / "a.gif", 10.0)
