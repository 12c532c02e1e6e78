"""The convolutional encoder's keypoints.

Shapes: B frames, C channels, Y and X the sides of a feature map.
"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lewm.config import ConvEncoder
from lewm.model.conv_encoder import ConvolutionalEncoder, Places


@given(
    spots=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=6),
    height=st.floats(50, 100),
)
def test_a_place_is_where_a_channel_is_large(spots, height):
    maps = torch.zeros(1, len(spots), 5, 5)
    for channel, (y, x) in enumerate(spots):
        maps[0, channel, y, x] = height
    coordinates = (torch.tensor(spots).T - 2) / 2 * 3**0.5  # from -√3 to √3
    torch.testing.assert_close(Places(5)(maps)[0], coordinates.flatten())


def test_places_anywhere_have_variance_one():
    side = 64
    maps = torch.full((side * side, 1, side, side), -100.0)
    maps.view(side * side, -1).fill_diagonal_(100.0)
    places = Places(side)(maps)
    assert places.mean(dim=0).abs().max() < 1e-5
    torch.testing.assert_close(places.var(dim=0), torch.ones(2), rtol=0.05, atol=0)


@pytest.mark.parametrize("keypoints", [None, 6])
def test_an_embedding_does_not_depend_on_its_batch(keypoints):
    torch.manual_seed(0)
    encoder = ConvolutionalEncoder(ConvEncoder(channels=(4, 8), width=16, keypoints=keypoints), 32).eval()
    frames = torch.randn(50, 3, 32, 32)
    with torch.inference_mode():
        together, alone = encoder(frames), torch.cat([encoder(frame[None]) for frame in frames])
    assert together.shape == (50, 16)
    assert torch.equal(together, alone)


def test_keypoints_follow_what_moves():
    torch.manual_seed(0)
    encoder = ConvolutionalEncoder(ConvEncoder(channels=(8,), width=16, keypoints=4), 32).eval()
    frame = torch.zeros(1, 3, 32, 32)
    frame[..., 8:12, 8:12] = 5
    with torch.inference_mode():
        points = [encoder.layers[:-1](frame.roll(shift, dims=-1))[0] for shift in (0, 2, 4, 6)]
    rows, columns = torch.stack(points).chunk(2, dim=1)
    torch.testing.assert_close(rows, rows[:1].expand_as(rows))
    steps = columns.diff(dim=0)
    assert steps.abs().max() > 0
    torch.testing.assert_close(steps, steps[:1].expand_as(steps))  # equally far each time
