"""The tiles of the rollout's Triton kernels, and the models that the kernels do not support.

Shapes: C candidates, N new tokens of a window.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lewm import recipes
from lewm.config import resolve
from lewm.model import build
from lewm_kernels.rollout import tiles


@given(
    C=st.integers(1, 10**6),
    N=st.integers(1, 8),
    width=st.integers(1, 512),
    hidden=st.integers(1, 4096),
    size=st.sampled_from([2, 4]),
)
def test_splits_cover_the_work_without_idle_or_too_many_programs(C, N, width, hidden, size):
    for tile, step in (
        (tiles.attention_in_tile(C, N, width, hidden, size), 64),
        (tiles.attention_out_tile(C, N, width, hidden, 64, size), 1),
        (tiles.mlp_tile(C, N, width, hidden, size), 32),
    ):
        assert tile.rows in (16, 32, 64, 128)
        assert tile.share % step == 0
        assert (tile.splits - 1) * tile.share < hidden <= tile.splits * tile.share
        assert tile.splits == 1 or tile.splits * N * -(-C // tile.rows) <= 132


@given(width=st.integers(1, 512), size=st.sampled_from([2, 4]))
def test_blocks_of_columns_hold_less_than_twice_a_row(width, size):
    columns = tiles.columns(width, size)
    assert columns in (16, 32, 64)
    assert -(-width // columns) * columns < 2 * max(width, 16)
    assert 192 % tiles.columns(192, size) == 0


@pytest.mark.parametrize(
    ("predictor", "reason"),
    [
        ({}, None),
        ({"head_dim": 8}, "heads of width 8 are not one of 16, 32, 64, 128"),
        ({"history": 9}, "windows of 9 latents are longer than 8"),
        ({"width": 257}, "rows of width 257 are wider than 256 in precision fp32"),
    ],
)
def test_what_it_does_not_take(predictor, reason):
    changes = {f"model.predictor.{key}": value for key, value in {"head_dim": 16, **predictor}.items()}
    model = build(resolve(recipes.small("two-room", 2), None, changes).model).eval()
    assert tiles.unsupported(model.pack()) == reason


@pytest.mark.parametrize(
    ("predictor", "precision", "reason"),
    [
        ({}, "bf16", None),
        ({}, "fp32", "its kernels multiply in bf16, and the model is packed in fp32"),
        ({"width": 193}, "bf16", "rows of width 193 are wider than 192"),
        ({"head_dim": 128}, "bf16", "heads of width 128 are wider than 64"),
        ({"history": 4}, "bf16", "windows of 4 latents are longer than 3"),
    ],
)
def test_whole_rows_are_taken_where_they_fit_and_there_are_many(predictor, precision, reason):
    changes = {f"model.predictor.{key}": value for key, value in {"head_dim": 16, **predictor}.items()}
    packed = build(resolve(recipes.small("two-room", 2), None, changes).model).eval().pack(precision)
    assert tiles.unsupported_whole(packed) == reason
    assert tiles.design_for(300, packed) == "layerwise"
    assert tiles.design_for(15000, packed) == ("layerwise" if reason else "whole")
