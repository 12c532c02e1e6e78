"""The convolutional encoder: its keypoints, the features there, and its residual convolutions.

Shapes: B frames, C channels, Y and X the sides of a feature map.
"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lewm.config import ConvEncoder, resolve
from lewm.errors import LewmError
from lewm.model.conv_encoder import ConvolutionalEncoder, Keypoints, Residual


@given(
    spots=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=6),
    height=st.floats(50, 100),
)
def test_a_place_is_where_a_channel_is_large(spots, height):
    maps = torch.zeros(1, len(spots), 5, 5)
    for channel, (y, x) in enumerate(spots):
        maps[0, channel, y, x] = height
    coordinates = (torch.tensor(spots).T - 2) / 2 * 3**0.5  # from -√3 to √3
    torch.testing.assert_close(Keypoints(len(spots), 5)(maps)[0], coordinates.flatten())


def test_places_anywhere_have_variance_one():
    side = 64
    maps = torch.full((side * side, 1, side, side), -100.0)
    maps.view(side * side, -1).fill_diagonal_(100.0)
    places = Keypoints(1, side)(maps)
    assert places.mean(dim=0).abs().max() < 1e-5
    torch.testing.assert_close(places.var(dim=0), torch.ones(2), rtol=0.05, atol=0)


@given(
    spots=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=6),
    count=st.integers(1, 20),
)
def test_features_of_a_keypoint_are_those_of_its_place(spots, count):
    generator = torch.Generator().manual_seed(count)
    maps = torch.zeros(1, len(spots), 5, 5)
    for keypoint, (y, x) in enumerate(spots):
        maps[0, keypoint, y, x] = 100
    features = torch.randn(1, count, 5, 5, generator=generator)
    found = Keypoints(len(spots), 5)(torch.cat([maps, features], dim=1))[0]
    expected = torch.stack([features[0, :, y, x] for y, x in spots])
    torch.testing.assert_close(found[2 * len(spots) :], expected.flatten())
    assert torch.equal(found[: 2 * len(spots)], Keypoints(len(spots), 5)(maps)[0])


@pytest.mark.parametrize(("keypoints", "features"), [(None, None), (6, None), (2, 5), (3, 1)])
def test_an_embedding_does_not_depend_on_its_batch(keypoints, features):
    torch.manual_seed(0)
    section = ConvEncoder(channels=(4, 8), width=16, dilations=(1, 2), keypoints=keypoints, features=features)
    encoder = ConvolutionalEncoder(section, 32).eval()
    frames = torch.randn(70, 3, 32, 32)
    with torch.inference_mode():
        together, alone = encoder(frames), torch.cat([encoder(frame[None]) for frame in frames])
        assert together.shape == (70, 16)
        assert torch.equal(together, alone)
        assert torch.equal(together[3:], encoder(frames[3:]))


def test_a_residual_convolution_sees_as_far_as_its_dilation():
    torch.manual_seed(0)
    block, frame = Residual(1, 3), torch.zeros(1, 1, 9, 9)
    convolution = block.layers[0]
    torch.nn.init.zeros_(convolution.bias)
    frame[..., 4, 4] = 1
    seen = convolution(frame)[0, 0].nonzero().tolist()
    assert seen == [[y, x] for y in (1, 4, 7) for x in (1, 4, 7)]
    torch.testing.assert_close(block(frame), frame + block.layers(frame))


def test_features_without_keypoints_are_refused(tiny):
    with pytest.raises(LewmError, match=r"model\.encoder: features 4 are read at keypoints, and keypoints is none"):
        resolve(tiny, None, {"model.encoder.features": 4})


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
