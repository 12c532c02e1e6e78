"""Files that are no videos, or broken ones, each made here, each met with two lines that say what to do."""

import logging
import math
import re
import wave
from fractions import Fraction

import av
import numpy as np
import pytest

from lewm_data.errors import DataError
from lewm_data.video.video import Video

SECONDS, RATE = 6, 10


def record(path, **options):
    """A moving texture with a keyframe every 12 frames: every packet matters, and has a few hundred bytes."""
    texture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=RATE, options={"g": "12"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for i in range(SECONDS * RATE):
            picture = av.VideoFrame.from_ndarray(np.roll(texture, i, axis=1), format="rgb24")
            picture.pts, picture.time_base = i, Fraction(1, RATE)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return record(tmp_path_factory.mktemp("good") / "a.mp4").read_bytes()


def refused(path, problem):
    with pytest.raises(DataError) as caught:
        Video.open(path)
    first, remedy = str(caught.value).split("\n")
    assert re.fullmatch(rf"{re.escape(str(path))}: ({problem})", first), first
    assert len(remedy) > 10
    assert remedy.endswith(".")


def test_missing_empty_and_folders_without_images(tmp_path):
    refused(tmp_path / "none.mp4", "No such file or directory")
    refused(tmp_path / f"{'a' * 300}.mp4", "File name too long")
    (tmp_path / "empty.mp4").touch()
    refused(tmp_path / "empty.mp4", "is empty, expected a video")
    refused(tmp_path, "no images in this folder")


@pytest.mark.parametrize(
    "content",
    [
        b"Not a video.\n" * 200,
        bytes(5000),
        b"\xff" * 5000,
        np.random.default_rng(0).bytes(50_000),
        b"\x89HDF\r\n\x1a\n" + bytes(2000),
        b"\x89PNG\r\n\x1a\n",
    ],
    ids=["text", "zeros", "ones", "noise", "hdf5", "a png's first bytes"],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.gif", "a.txt", "a"])
def test_other_files(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, "is not a video that can be read, or not all of one|is a video without a picture")


def test_playlists_open_nothing_else(tmp_path, good):
    (tmp_path / "other.mp4").write_bytes(good)
    lists = {
        "a.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\n{tmp_path}/other.mp4\n#EXT-X-ENDLIST\n",
        "a.ffconcat": f"ffconcat version 1.0\nfile {tmp_path}/other.mp4\n",
    }
    for name, content in lists.items():
        (tmp_path / name).write_text(content)
        refused(tmp_path / name, "is not a video that can be read, or not all of one")


@pytest.mark.parametrize("share", [0.0005, 0.01, 0.5, 0.95])
def test_an_mp4_whose_end_is_missing(tmp_path, good, share):
    """Its index comes last: without it nothing can be played."""
    (tmp_path / "a.mp4").write_bytes(good[: int(len(good) * share)])
    refused(tmp_path / "a.mp4", "is not a video that can be read, or not all of one|expected a video, found nothing")


def test_an_index_without_the_pictures(tmp_path, good):
    start = good.index(b"moov") - 4
    (tmp_path / "a.mp4").write_bytes(good[:32] + good[start:])
    refused(tmp_path / "a.mp4", "is a video without a picture")


def test_a_header_alone(tmp_path):
    (tmp_path / "a.gif").write_bytes(b"GIF89a\x10\x00\x10\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff;")
    refused(tmp_path / "a.gif", "is a video without a picture")


def test_sound_alone(tmp_path):
    """The sound has a cover, which is a video stream of one picture, or none."""
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(8000))
    refused(tmp_path / "a.wav", "is not a video that can be read, or not all of one")
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        cover = container.add_stream("mjpeg", rate=1)
        cover.height, cover.width, cover.pix_fmt = 16, 16, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic.value
        stream = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        sound.rate = 8000
        container.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    refused(tmp_path / "a.mp4", "expected a video, found audio")


def test_packets_that_cannot_be_decoded(tmp_path, good, caplog):
    """Frames before and after are given at their times; what is missing is said once."""
    spoilt = bytearray(good)
    start, end = good.index(b"mdat"), good.index(b"moov")
    middle = (start + end) // 2
    spoilt[middle : middle + 4000] = b"\xff" * 4000
    (tmp_path / "whole.mp4").write_bytes(good)
    (tmp_path / "a.mp4").write_bytes(spoilt)
    whole = {round(frame.time * RATE): frame.pixels for frame in Video.open(tmp_path / "whole.mp4").frames()}
    with Video.open(tmp_path / "a.mp4") as video, caplog.at_level(logging.WARNING):
        found = {round(frame.time * RATE): frame.pixels for frame in video.frames()}
    assert 30 < len(found) < 60
    for number in (*range(20), *range(50, 60)):
        np.testing.assert_array_equal(found[number], whole[number])
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'a.mp4'}: is damaged, some pictures are missing or wrong"
    ]


def test_a_title_in_another_alphabet(tmp_path, good):
    assert b"Lavf" in good  # the writing program's name, the only text in the file
    (tmp_path / "a.mp4").write_bytes(good.replace(b"Lavf", b"L\xe9vf"))
    assert Video.open(tmp_path / "a.mp4").count == 60


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_a_copy_that_was_broken_off(tmp_path, ending, caplog):
    """The beginning can be played where the index comes first, or where there is none."""
    path = record(tmp_path / f"a.{ending}", **({"movflags": "faststart"} if ending == "mp4" else {}))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with Video.open(path) as video, caplog.at_level(logging.WARNING):
        assert 20 <= sum(1 for _ in video.frames()) <= 40
    assert re.search(r"a\.\w+: ends after [23]\.\d\d s of the 6\.00 s it states", caplog.text)


def test_noise_anywhere_never_hangs_or_crashes(tmp_path, good):
    """An error of ours, or frames."""
    record(tmp_path / "good.mkv")
    contents = {"mp4": good, "mkv": (tmp_path / "good.mkv").read_bytes()}
    rng = np.random.default_rng(0)
    for i in range(60):
        ending = ("mp4", "mkv")[i % 2]
        spoilt = bytearray(contents[ending])
        for start in (int(rng.integers(0, 600)), int(rng.integers(0, len(spoilt) - 200)), len(spoilt) - 600):
            spoilt[start : start + 16] = rng.bytes(16)
        path = tmp_path / f"a.{ending}"
        path.write_bytes(spoilt)
        try:
            assert len(list(Video.open(path).frames(size=(8, 8)))) > 0
        except DataError:
            continue


@pytest.fixture
def video(tmp_path, good):
    (tmp_path / "a.mp4").write_bytes(good)
    with Video.open(tmp_path / "a.mp4") as video:
        yield video


@pytest.mark.parametrize("fps", [0.0, -1.0, 1e-9, 1e9, math.nan, math.inf])
def test_rates_that_are_none(video, fps):
    with pytest.raises(DataError, match="frames a second asked for\nAsk for 1e-05 to 1000"):
        video.frames(fps=fps)


def test_a_picture_that_is_shown_for_hours_is_not_repeated_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr("lewm_data.video.video.MOST_REPEATS", 50)
    frame = b"\x21\xf9\x04\0\xff\xff\0\0" + b"\x2c" + bytes(4) + b"\x01\0\x01\0\0" + b"\x02\x02\x44\x01\x00"
    (tmp_path / "a.gif").write_bytes(b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff" + 3 * frame + b";")
    shown = []
    with (
        Video.open(tmp_path / "a.gif") as video,
        pytest.raises(DataError, match="at 10 frames a second more than 50 frames repeat the one before\nAsk"),
    ):
        shown.extend(frame.time for frame in video.frames(fps=10.0))
    assert shown == [k / 10 for k in range(51)]
    with Video.open(tmp_path / "a.gif") as video:
        assert [frame.time for frame in video.frames(fps=0.002)] == [0, 500, 1000, 1500]


@pytest.mark.parametrize("rate", [Fraction(10**6), Fraction(1, 10**6)])
def test_a_rate_that_no_camera_has(tmp_path, rate):
    """The file states it; what is played at that rate would be over at once, or never."""
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("mjpeg", rate=rate)
        stream.height, stream.width, stream.pix_fmt = 16, 16, "yuvj420p"
        for i in range(3):
            picture = av.VideoFrame.from_ndarray(np.full((16, 16, 3), 80 * i, np.uint8), format="rgb24")
            picture.pts, picture.time_base = i, 1 / rate
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    with Video.open(tmp_path / "a.mkv") as video:
        assert 1e-5 <= video.fps <= 1000
        assert len(list(video.frames())) == 3


def test_pictures_that_become_larger_are_given_at_the_size_of_the_first(tmp_path, monkeypatch):
    for side in (16, 64):
        with av.open(str(tmp_path / f"{side}.ts"), "w") as container:
            stream = container.add_stream("mpeg2video", rate=RATE)
            stream.height, stream.width, stream.pix_fmt = side, side, "yuv420p"
            for i in range(6):
                picture = av.VideoFrame.from_ndarray(np.full((side, side, 3), 50, np.uint8), format="rgb24")
                picture.pts, picture.time_base = i, Fraction(1, RATE)
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
    (tmp_path / "a.ts").write_bytes((tmp_path / "16.ts").read_bytes() + (tmp_path / "64.ts").read_bytes())

    def shapes():
        with Video.open(tmp_path / "a.ts") as video:
            return [frame.pixels.shape for frame in video.frames()]

    whole = shapes()
    assert set(whole) == {(16, 16, 3)}
    monkeypatch.setattr("lewm_data.video.video_file.CODEC_OPTIONS", {"max_pixels": "1024"})
    assert 4 <= len(shapes()) <= len(whole) - 4  # pictures beyond the limit count as damage


@pytest.mark.parametrize(
    ("start", "stop", "problem"),
    [
        (-1.0, None, "asked to start at -1 s"),
        (math.nan, None, "asked to start at nan s"),
        (math.inf, None, "asked to start at inf s"),
        (2.0, 2.0, "asked to stop at 2 s, having started at 2 s"),
        (2.0, 1.0, "asked to stop at 1 s"),
        (0.0, math.nan, "asked to stop at nan s"),
    ],
)
def test_spans_that_are_none(video, start, stop, problem):
    with pytest.raises(DataError, match=problem):
        video.frames(start=start, stop=stop)


@pytest.mark.parametrize("fps", [None, 5.0])
def test_starting_after_the_end(video, fps):
    with pytest.raises(DataError, match="ends at 6 s, asked to start at 7 s\nStart earlier"):
        next(video.frames(fps, start=7.0))


def test_a_frame_without_pixels(video):
    with pytest.raises(DataError, match="frames of 8 x 0 asked for"):
        video.frames(size=(0, 8))


def png(path, height, width):
    context = av.CodecContext.create("png", "w")
    context.height, context.width, context.pix_fmt, context.time_base = height, width, "rgb24", Fraction(1, 25)
    picture = av.VideoFrame.from_ndarray(np.zeros((height, width, 3), np.uint8), format="rgb24")
    path.write_bytes(b"".join(bytes(packet) for packet in [*context.encode(picture), *context.encode(None)]))


def test_images_of_unequal_size(tmp_path):
    for i, height in enumerate((8, 8, 10)):
        png(tmp_path / f"{i}.png", height, 12)
    frames = Video.open(tmp_path).frames()
    assert [next(frames).time, next(frames).time] == [0, 1]
    with pytest.raises(DataError, match=r"2\.png: is 12 x 10, expected 12 x 8 as in 0\.png\nGive all images"):
        next(frames)


def test_images_that_are_none(tmp_path):
    png(tmp_path / "0.png", 8, 8)
    (tmp_path / "1.png").write_bytes((tmp_path / "0.png").read_bytes()[:30])
    with pytest.raises(DataError, match=r"1\.png: is no PNG or JPEG picture that can be read, .* 33 million .*\nLeave"):
        list(Video.open(tmp_path).frames())
    (tmp_path / "0.png").write_text("none")
    with pytest.raises(DataError, match=r"0\.png: is no PNG or JPEG picture that can be read, .*\nLeave"):
        Video.open(tmp_path)


def test_starting_after_the_last_image(tmp_path):
    png(tmp_path / "0.png", 8, 8)
    with pytest.raises(DataError, match=r"ends at 0\.1 s, asked to start at 0\.2 s"):
        next(Video.open(tmp_path).frames(10.0, start=0.2))
