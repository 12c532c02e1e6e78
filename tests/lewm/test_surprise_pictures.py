"""What is kept of a long video, and thumbnails."""

import numpy as np
import pytest
import torch

from lewm.surprise import pictures
from lewm.surprise.familiarity import nearest_distance, thumbnails, unfamiliarity
from lewm.surprise.pictures import Curve, Peaks
from lewm.surprise.trace import Detector, Event, EventMerger, SurpriseTrace
from lewm.surprise.video_pass import resized


def trace(scores, first=0, above=1.0):
    scores = np.asarray(scores, dtype=float)
    frame = first + np.arange(len(scores))
    return SurpriseTrace(frame, frame / 10, scores, scores, scores, 1 / (1 + scores), scores > above)


def test_a_curve_of_any_length_keeps_its_peaks_at_a_bounded_number_of_points():
    scores = np.random.default_rng(0).uniform(0, 0.5, 50_000)
    scores[:7] = np.nan
    scores[[12_345, 40_000]] = 30, 20
    curve = Curve()
    for begin in range(0, len(scores), 777):
        curve.push(trace(scores[begin : begin + 777], begin))
    times, kept = curve.points()
    assert pictures.BINS / 4 < len(times) <= pictures.BINS
    assert np.nanmax(kept) == 30
    assert np.abs(times[np.nan_to_num(kept) > 1] - [1234.5, 4000]).max() <= curve.width / 10
    assert (np.diff(times) > 0).all()


def test_a_short_curve_is_kept_as_it_is():
    curve = Curve()
    curve.push(trace([np.nan, 1, 2, 3]))
    times, scores = curve.points()
    assert np.allclose(times, [0, 0.1, 0.2, 0.3])
    assert np.isnan(scores[0])
    assert scores[1:].tolist() == [1, 2, 3]


def picture(value):
    return np.full((4, 4, 3), value, np.uint8)


@pytest.mark.parametrize("together", [7, 100])
def test_pictures_of_the_highest_peaks_are_kept_with_those_one_step_before(together):
    """Events may end in the piece they begin in, and last over several pieces."""
    scores = np.zeros(100)
    for i, peak in enumerate(range(5, 100, 10)):
        scores[peak : peak + 2] = 10 + (7 * i) % 10, 5
    peaks, merger, most = Peaks(frameskip=2), EventMerger(2), 0
    for begin in range(0, 100, together):
        piece = trace(scores[begin : begin + together], begin)
        peaks.push([picture(frame) for frame in piece.frame], piece)
        peaks.sort_out(merger.push(piece), merger.open)
        most = max(most, len(peaks._flagged))
    peaks.sort_out(merger.finish(), merger.open)
    assert most <= 1
    assert [event.score for event, *_ in peaks.kept] == [19, 18, 17, 16, 15, 14]
    for event, before, peak in peaks.kept:
        assert (peak == event.peak).all()
        assert (before == event.peak - 2).all()


def an_event(begin, end):
    return Event(begin, end, begin, begin / 10, end / 10, begin / 10, 1.0, 0.01, 5.0)


@pytest.mark.parametrize(("begin", "end"), [(40, 40), (40, 41), (40, 400)])
def test_an_event_is_shaded_over_its_frames_and_never_too_narrow_to_be_seen(begin, end):
    left, width = pictures.shaded(an_event(begin, end), 0.1, narrowest=1.0)
    assert width == pytest.approx(max(1.0, (end - begin + 1) / 10))
    assert left + width / 2 == pytest.approx((begin + end) / 20)


class Decided(Detector):
    """A detector whose threshold is given."""

    def __init__(self):
        self.threshold, self.alpha = 1.0, 0.01


def test_all_events_are_shaded_in_the_picture_also_those_of_a_single_frame(tmp_path):
    """In a long video, where a frame is much narrower than a pixel, and more events than are pictured."""
    from PIL import Image

    scores = np.full(30_000, 0.1)
    places = np.arange(1000, 30_000, 3000)
    scores[places] = 2000
    curve, merger, peaks = Curve(), EventMerger(5), Peaks(5)
    whole = trace(scores)
    curve.push(whole)
    peaks.push([picture(0)] * len(scores), whole)
    events = merger.push(whole) + merger.finish()
    peaks.sort_out(events, None)
    pictures.draw_surprise(tmp_path / "a.png", "a.mp4", curve, peaks, events, Decided(), "known", 10.0)
    drawn = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).astype(int)
    red = drawn[60, :, 0] - drawn[60, :, 2] > 15  # above the curve and beside the numbers
    bands = np.flatnonzero(np.diff(red.astype(int)) == 1)
    assert len(events) == len(bands) == len(places) > len(peaks.kept)
    assert red.sum() >= 4 * len(places)


def test_the_axis_of_scores_holds_all_of_them_and_is_not_stretched_by_a_few_that_are_tiny():
    scores = np.full(1000, 0.1)
    scores[:3], scores[7], scores[500] = np.nan, 1e-9, 3000
    low, high = pictures.score_limits(scores, 1.2)
    assert low == pytest.approx(0.1 / 1.5)
    assert high > 6000
    assert pictures.score_limits(np.zeros(5), 1.0)[0] > 0
    assert pictures.score_limits(np.full(5, np.nan), 1.0)[1] > 1


def test_thumbnails_average_and_the_nearest_is_found():
    frames = torch.zeros(3, 64, 64, 3, dtype=torch.uint8)
    frames[1, :2, :4] = 200  # half of the first of 16 x 16 cells
    frames[2] = 50
    small = thumbnails(frames)
    assert small.shape == (3, 16 * 16 * 3)
    assert small[1].unflatten(0, (3, 16, 16))[0, 0, 0] == 100
    distance = nearest_distance(small, small[[0]])
    assert distance[0] == 0
    torch.testing.assert_close(distance[2], torch.tensor(50.0))
    usual = torch.tensor([1.0, 5.0])
    assert unfamiliarity(frames[[2, 2]], small[[0]], usual) == 10
    assert unfamiliarity(frames[[0, 0]], small[[0]], usual) == 0


def test_frames_that_were_enlarged_come_back_exactly_and_shrinking_averages():
    frames = torch.randint(0, 256, (2, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    large = frames.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)
    assert (resized(large, (8, 8), "stretch") == frames).all()
    assert resized(frames, (8, 8), "stretch") is frames
    board = (torch.arange(16)[:, None] + torch.arange(16)) % 2 * 255
    grey = resized(board[None, :, :, None].expand(1, 16, 16, 3).to(torch.uint8), (4, 4), "stretch")
    assert ((grey == 127) | (grey == 128)).all()
    assert resized(frames, (12, 20), "stretch").shape == (2, 12, 20, 3)
