"""Videos whose frame i has the brightness 20 + 7 i, so that each picture says which one it is."""

import struct
import sys
import tracemalloc
import zlib
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lewm_data.errors import DataError
from lewm_data.video import video_file
from lewm_data.video.video import Video, resized
from lewm_data.video.video_file import probe

H264 = ("libx264", "yuv420p", {"g": "7"})
CODECS = {
    "mp4": H264,
    "mov": H264,
    "mkv": H264,
    "ts": H264,
    "flv": H264,
    "avi": ("mpeg4", "yuv420p", {"g": "7", "b": "4000000"}),
    "webm": ("libvpx", "yuv420p", {"g": "7"}),
    "gif": ("gif", "rgb8", {}),
}
SIZE = (32, 48)


def numbered(count):
    return (20 + 7 * np.arange(count, dtype=np.uint8))[:, None, None, None] + np.zeros((1, *SIZE, 3), np.uint8)


def write(path, frames, codec=H264, fps=10, ticks=None, tick=None, source="rgb24"):
    """Writes frames at i / fps, or at whole `ticks` of `tick` seconds."""
    name, pixel_format, options = codec
    ticks, tick = (range(len(frames)), 1 / Fraction(fps)) if ticks is None else (ticks, tick)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(name, rate=Fraction(fps), options=options)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pixel_format
        stream.codec_context.time_base = tick
        for now, frame in zip(ticks, frames, strict=True):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format=source)
            picture.pts, picture.time_base = now, tick
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def numbers(frames):
    return [round((float(frame.pixels.mean()) - 20) / 7) for frame in frames]


def times(frames):
    return [frame.time for frame in frames]


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """The same 30 frames at 10 a second in every format."""
    folder = tmp_path_factory.mktemp("videos")
    return {ending: write(folder / f"a.{ending}", numbered(30), codec) for ending, codec in CODECS.items()}


@pytest.mark.parametrize("ending", CODECS)
def test_every_stored_frame_at_its_time(videos, ending):
    with Video.open(videos[ending]) as video:
        frames = list(video.frames())
        assert (video.height, video.width) == SIZE
        assert video.fps == pytest.approx(10)
        assert video.duration == pytest.approx(3, abs=0.25)
        assert video.count == pytest.approx(30, abs=2)
    assert numbers(frames) == list(range(30))
    np.testing.assert_allclose(times(frames), np.arange(30) / 10, atol=1e-9)
    assert {(frame.pixels.shape, frame.pixels.dtype, frame.pixels.flags.c_contiguous) for frame in frames} == {
        ((*SIZE, 3), np.dtype(np.uint8), True)
    }


def test_pictures_of_an_avi_are_in_the_order_of_decoding(tmp_path):
    """Such a file has no presentation times, and reordered pictures have wrong ones."""
    reordered = ("libx264", "yuv420p", {"x264-params": "keyint=15:bframes=8:b-adapt=2:weightp=0"})
    with Video.open(write(tmp_path / "a.avi", numbered(30), reordered)) as video:
        frames = list(video.frames())
        assert numbers(frames) == list(range(30))
        np.testing.assert_allclose(times(frames), np.arange(30) / 10, atol=1e-9)
        for start in (0.5, 1.3, 1.4, 1.6, 2.8, 2.9):
            assert numbers(video.frames(start=start)) == list(range(round(start * 10), 30))


@pytest.mark.parametrize("ending", CODECS)
@pytest.mark.parametrize("fps", [None, 4.0, 10.0, 25.0])
def test_a_seek_gives_what_a_whole_reading_gives(videos, ending, fps):
    with Video.open(videos[ending]) as video:
        whole = list(video.frames(fps))
        for start in (0.05, 0.7, 1.0, 1.33, 2.9):
            expected = [frame for frame in whole if frame.time >= start - 1e-6]
            found = list(video.frames(fps, start=start))
            assert times(found) == times(expected)
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_array_equal(one.pixels, other.pixels)


def test_a_seek_decodes_little(videos, monkeypatch):
    stamps = []

    def noted(container, image, original=video_file._stamp):
        stamps.append(original(container, image))
        return stamps[-1]

    with Video.open(videos["mp4"]) as video:
        monkeypatch.setattr(video_file, "_stamp", noted)
        assert numbers([next(video.frames(start=2.5))]) == [25]
    assert len(stamps) < 10  # keyframes are 7 apart


@pytest.mark.parametrize("ending", ["mkv", "mp4", "mov"])
def test_a_video_that_begins_late_lasts_as_long_as_its_pictures(tmp_path, caplog, ending):
    path = write(tmp_path / f"late.{ending}", numbered(8), ticks=range(3000, 3800, 100), tick=Fraction(1, 1000))
    file = probe(path)
    assert file.times()[-1] == pytest.approx(0.8, abs=0.01)
    assert file.duration == pytest.approx(0.8, abs=0.11)
    assert [round(picture.time, 2) for picture in file.pictures(0.0)] == [round(0.1 * k, 2) for k in range(8)]
    assert caplog.records == []


def test_a_seek_without_an_index(tmp_path):
    """Such a stream could be entered anywhere, but not all of its frames have times."""
    frames = numbered(30).repeat(2, axis=1).repeat(2, axis=2)
    with Video.open(write(tmp_path / "a.mpg", frames, ("mpeg1video", "yuv420p", {}), fps=25)) as video:
        whole = {frame.time: frame.pixels for frame in video.frames()}
        for start in (0.3, 0.6, 0.9, 1.0, 1.03, 1.1, 1.15):
            found = {frame.time: frame.pixels for frame in video.frames(start=start)}
            assert list(found) == [time for time in whole if time >= start]
            for time, pixels in found.items():
                np.testing.assert_array_equal(pixels, whole[time])


@pytest.mark.parametrize("ending", ["mp4", "avi"])
@pytest.mark.parametrize("fps", [3.0, 7.0, 10.0, 24.0, 30000 / 1001, 60.0])
def test_sampling_shows_what_a_player_shows(videos, ending, fps):
    """The last frame whose time has come, for as long as the last frame lasts."""
    with Video.open(videos[ending]) as video:
        frames = list(video.frames(fps))
    expected = [k / fps for k in range(1000) if k / fps < 3 - 1e-9]
    assert times(frames) == expected
    assert numbers(frames) == [int(time * 10 + 1e-9) for time in expected]


@given(
    gaps=st.lists(st.integers(15, 900), min_size=1, max_size=12),
    fps=st.sampled_from([1.0, 5.0, 12.5, 30.0, 60.0]),
    start=st.floats(0, 1),
)
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sampling_a_variable_rate(tmp_path_factory, gaps, fps, start):
    ticks = np.cumsum([0, *gaps])
    path = tmp_path_factory.mktemp("variable") / "a.mkv"
    write(path, numbered(len(ticks)), ("ffv1", "yuv420p", {}), ticks=ticks.tolist(), tick=Fraction(1, 1000))
    with Video.open(path) as video:
        np.testing.assert_allclose(times(video.frames()), ticks / 1000, atol=1e-9)
        start = min(start, float(ticks[-1]) / 1000)
        frames = [frame for frame in video.frames(fps, start=start) if frame.time <= ticks[-1] / 1000]
    expected = [k / fps for k in range(10_000) if start - 1e-6 <= k / fps <= ticks[-1] / 1000]
    assert times(frames) == expected
    assert numbers(frames) == [int(np.searchsorted(ticks, time * 1000 + 0.5, "right")) - 1 for time in expected]


@pytest.mark.parametrize(("ending", "codec"), [("mkv", H264), ("gif", CODECS["gif"])])
def test_times_rounded_by_the_format_repeat_and_drop_nothing(tmp_path, ending, codec):
    """At 30 frames a second, stamps are 33, 67, 100 ms, or 3, 7, 10 hundredths."""
    with Video.open(write(tmp_path / f"a.{ending}", numbered(30), codec, fps=30)) as video:
        assert numbers(video.frames(30.0)) == list(range(30))


def test_from_start_on_and_before_stop(videos):
    with Video.open(videos["mp4"]) as video:
        assert numbers(video.frames(start=0.5, stop=0.8)) == [5, 6, 7]
        assert numbers(video.frames(start=0.45, stop=0.75)) == [5, 6, 7]
        assert numbers(video.frames(20.0, start=0.45, stop=0.65)) == [4, 5, 5, 6]
        assert numbers(video.frames(stop=0.1 + 0.2)) == [0, 1, 2]
        assert numbers(video.frames(start=0.1 + 0.2, stop=0.4)) == [3]
        assert numbers(video.frames(start=2.9, stop=99.0)) == [29]


def test_a_stamp_far_off_is_passed_over(tmp_path):
    ticks = [0, 100, 200, 10**9, 10**9 + 100, 10**9 + 200]
    path = write(tmp_path / "a.mkv", numbered(6), ("ffv1", "yuv420p", {}), ticks=ticks, tick=Fraction(1, 1000))
    with Video.open(path) as video:
        assert numbers(video.frames(10.0)) == [0, 1, 2, 3, 4, 5]


def test_readings_are_independent_and_end_with_the_video(videos):
    with Video.open(videos["mp4"]) as video:
        one, other = video.frames(), video.frames(start=1.0)
        assert numbers([next(one), next(other), next(one), next(other)]) == [0, 10, 1, 11]
    assert list(one) == list(other) == []


def test_frames_are_not_kept(tmp_path):
    path = write(
        tmp_path / "a.mp4", np.zeros((60, 240, 320, 3), np.uint8), ("libx264", "yuv420p", {"preset": "ultrafast"})
    )
    with Video.open(path) as video:
        tracemalloc.start()
        count = sum(1 for _ in video.frames())
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert count == 60
    assert peak < 6 * 240 * 320 * 3


def turned(path, a, b, c, d):
    """The video with another matrix in its track header (ISO/IEC 14496-12, 8.3.2), as phones write it."""
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 44
    content[place : place + 20] = struct.pack(">5i", a << 16, b << 16, 0, c << 16, d << 16)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("matrix", "turns"), [((1, 0, 0, 1), 0), ((0, 1, -1, 0), -1), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 1)]
)
def test_a_phone_that_was_turned(tmp_path, matrix, turns):
    frame = np.full((*SIZE, 3), 60, np.uint8)
    frame[:16, :16], frame[:16, 32:] = (230, 20, 20), (20, 20, 230)
    path = write(tmp_path / "a.mp4", np.stack([frame] * 3), ("libx264", "yuv444p", {"crf": "5"}))
    expected = np.rot90(frame, turns)
    with Video.open(turned(path, *matrix)) as video:
        assert (video.height, video.width) == expected.shape[:2]
        assert np.abs(next(video.frames()).pixels.astype(int) - expected).mean() < 2
        small = next(video.frames(size=(24, 40))).pixels
    assert np.abs(small.astype(int) - resized(np.ascontiguousarray(expected), (24, 40))).mean() < 2


@pytest.mark.parametrize(
    ("codec", "pixel_format", "ending"),
    [
        ("libx264", "yuv444p", "mp4"),
        ("libx264", "yuv420p10le", "mp4"),
        ("ffv1", "yuv422p", "mkv"),
        ("ffv1", "gray", "mkv"),
        ("mjpeg", "yuvj420p", "avi"),
        ("apng", "rgb24", "apng"),
    ],
)
def test_pixel_formats(tmp_path, codec, pixel_format, ending):
    colours = {"red": (220, 30, 40), "green": (30, 200, 60), "grey": (128, 128, 128), "white": (255, 255, 255)}
    frames = np.zeros((4, *SIZE, 3), np.uint8) + np.array(list(colours.values()), np.uint8)[:, None, None]
    with Video.open(write(tmp_path / f"a.{ending}", frames, (codec, pixel_format, {}))) as video:
        found = np.stack([frame.pixels for frame in video.frames()]).astype(int)
    if pixel_format == "gray":
        frames = (frames @ np.array([0.299, 0.587, 0.114])).round()[..., None]
    assert np.abs(found - frames).max() <= 6


def test_transparent_pixels_are_laid_on_white(tmp_path):
    rgba = np.zeros((1, *SIZE, 4), np.uint8)
    rgba[..., 0] = 200
    rgba[:, :, 16:, 3], rgba[:, :, 32:, 3] = 128, 255
    with Video.open(write(tmp_path / "a.mkv", rgba, ("ffv1", "bgra", {}), source="rgba")) as video:
        pixels = next(video.frames()).pixels
    np.testing.assert_array_equal(pixels[0, [0, 20, 40]], [(255, 255, 255), (227, 127, 127), (200, 0, 0)])


def test_shrinking_averages(tmp_path):
    chequered = np.indices((96, 96)).sum(axis=0) % 2 * 255
    frames = np.repeat(chequered.astype(np.uint8)[None, ..., None], 3, axis=3)
    with Video.open(write(tmp_path / "a.mkv", frames, ("ffv1", "bgr0", {}))) as video:
        for size in ((32, 32), (40, 24), (7, 11)):
            small = next(video.frames(size=size)).pixels
            assert small.shape == (*size, 3)
            assert np.abs(small.astype(int) - 127.5).max() < 12, size


@pytest.mark.parametrize("size", [(7, 11), (31, 24), (64, 96), (80, 60)])
def test_a_colour_stays_itself_at_any_size(tmp_path, size):
    frames = np.zeros((1, *SIZE, 3), np.uint8) + np.array((13, 200, 97), np.uint8)
    for codec in (("ffv1", "bgr0", {}), ("libx264", "yuv420p", {"crf": "0"})):
        with Video.open(write(tmp_path / "a.mkv", frames, codec)) as video:
            pixels, original = next(video.frames(size=size)).pixels, next(video.frames()).pixels
        assert np.abs(pixels.astype(int) - original[0, 0]).max() <= 2


@pytest.mark.parametrize("size", [(24, 24), (31, 40), (90, 100)])
def test_resizing_is_the_models_own(size):
    """Bilinear, antialiased, to a level on average; swscale's taps have 14 bits."""
    frame = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    channels = torch.from_numpy(frame).permute(2, 0, 1)[None].float()
    expected = F.interpolate(channels, size, mode="bilinear", antialias=True)[0].permute(1, 2, 0).numpy()
    assert np.abs(resized(frame, size) - expected).mean() < 1
    assert resized(frame, (60, 80)) is frame


def image(path, frame):
    codec, pixel_format = ("png", "rgb24") if path.suffix == ".png" else ("mjpeg", "yuvj444p")
    context = av.CodecContext.create(codec, "w")
    context.height, context.width, context.pix_fmt, context.time_base = *frame.shape[:2], pixel_format, Fraction(1, 25)
    picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format=pixel_format)
    path.write_bytes(b"".join(bytes(packet) for packet in [*context.encode(picture), *context.encode(None)]))


def test_a_folder_of_images_in_natural_order(tmp_path):
    frames = numbered(12)
    for i in range(12):
        image(tmp_path / f"view{i}.{'jpg' if i % 2 else 'png'}", frames[i])
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "._view3.png").write_text("what some systems leave beside a file")
    with Video.open(tmp_path) as video:
        assert (video.height, video.width, video.count) == (*SIZE, 12)
        assert video.fps is None
        assert video.duration is None
        assert numbers(video.frames()) == list(range(12))
        assert times(video.frames()) == list(range(12))
        assert times(video.frames(fps=30.0)) == [i / 30 for i in range(12)]
        assert numbers(video.frames(fps=30.0, start=0.2, stop=0.3)) == [6, 7, 8]
        assert next(video.frames(size=(8, 10))).pixels.shape == (8, 10, 3)


def test_a_transparent_colour_of_a_palette(tmp_path):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 2, 1, 8, 3, 0, 0, 0)
    parts = {b"IHDR": header, b"PLTE": bytes((9, 9, 9, 10, 20, 30)), b"tRNS": b"\0", b"IDAT": zlib.compress(b"\0\0\1")}
    content = b"".join(chunk(kind, content) for kind, content in {**parts, b"IEND": b""}.items())
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    pixels = next(Video.open(tmp_path).frames()).pixels
    np.testing.assert_array_equal(pixels, [[(255, 255, 255), (10, 20, 30)]])


def test_a_percent_sign_in_a_name_is_no_pattern(tmp_path):
    image(tmp_path / "a%03d.png", numbered(3)[2])
    assert numbers(Video.open(tmp_path).frames()) == [2]


def test_a_photo_that_was_turned(tmp_path):
    frame = np.full((32, 48, 3), 60, np.uint8)
    frame[:16, :16] = 220
    image(tmp_path / "a.jpg", frame)
    content = (tmp_path / "a.jpg").read_bytes()
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHHI", 0x112, 3, 1, 6, 0, 0)  # orientation 6
    (tmp_path / "a.jpg").write_bytes(content[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + content[2:])
    with Video.open(tmp_path) as video:
        assert (video.height, video.width) == (48, 32)
        assert np.abs(next(video.frames()).pixels.astype(int) - np.rot90(frame, -1)).mean() < 2


def test_without_pyav(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(DataError, match=r'reading a video needs PyAV.*\nRun .*: pip install -e "\.\[video\]"'):
        Video.open(tmp_path)


@pytest.mark.parametrize(
    ("ending", "shape", "shown"),
    [
        ("mp4", Fraction(4, 3), (32, 64)),
        ("mkv", Fraction(8, 9), (32, 43)),
        ("mp4", Fraction(1), (32, 48)),
        ("mkv", Fraction(20), (32, 48)),  # no camera has such pixels
    ],
)
def test_pixels_that_are_not_square_are_made_so(tmp_path, ending, shape, shown):
    path = tmp_path / f"a.{ending}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.sample_aspect_ratio = shape
        marked = numbered(4)
        marked[:, 12:20, 24 - round(4 / shape) : 24 + round(4 / shape)] = 255  # 8 x 8 as it is shown
        for frame in marked:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    with Video.open(path) as video:
        assert (video.height, video.width) == shown
        found = [frame.pixels for frame in video.frames()]
    assert [frame.shape for frame in found] == [(*shown, 3)] * 4
    bright = found[1][:, :, 0] > 140
    if shape < 2:
        assert abs(int(bright.any(axis=0).sum()) - int(bright.any(axis=1).sum())) <= 1  # the mark is square
