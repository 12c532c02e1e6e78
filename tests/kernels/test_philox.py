"""Philox: published vectors, Triton's stream, the documented layouts, moments, independence of the batch.

Shapes: D latent width, M directions.
"""

import importlib
import importlib.util
import math
import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from lewm_kernels import directions, normal, philox, uniform

module = importlib.import_module("lewm_kernels.philox")

# Random123's known answers for philox4x32, 10 rounds: counter, key, words.
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_known_answers(counter, key, expected):
    low, high = words(key)
    got = philox(low | high << 32, torch.tensor([[words(counter)]]))
    assert got.shape == (1, 1, 4)
    assert got.flatten().tolist() == words(expected)


def test_counters_are_words():
    counters = torch.tensor([[-1, 0, 5, 7], [(1 << 32) - 1, 1 << 32, 5, 7]])
    first, second = philox(3, counters).tolist()
    assert first == second


def random_counters(n: int) -> torch.Tensor:
    return torch.randint(0, 1 << 32, (n, 4), generator=torch.Generator().manual_seed(0))


def python_philox(seed: int, counter: list[int]) -> list[int]:
    """The definition, one word at a time in Python's integers."""
    c0, c1, c2, c3 = counter
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        a, b = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (b >> 32) ^ c1 ^ k0, b & 0xFFFFFFFF, (a >> 32) ^ c3 ^ k1, a & 0xFFFFFFFF
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return [c0, c1, c2, c3]


@pytest.mark.parametrize("seed", [0, 12345, (1 << 64) - 1, 1 << 63])
def test_words_are_those_of_the_definition(seed):
    counters = random_counters(50)
    assert philox(seed, counters).tolist() == [python_philox(seed, c) for c in counters.tolist()]


PROGRAM = """
import sys
import torch
import triton
import triton.language as tl

@triton.jit
def kernel(c_ptr, words_ptr, short_ptr, seed, N: tl.constexpr):
    o = tl.arange(0, N)
    c0 = tl.load(c_ptr + 4 * o).to(tl.uint32)
    c1 = tl.load(c_ptr + 4 * o + 1).to(tl.uint32)
    c2 = tl.load(c_ptr + 4 * o + 2).to(tl.uint32)
    c3 = tl.load(c_ptr + 4 * o + 3).to(tl.uint32)
    w0, w1, w2, w3 = tl.philox(seed, c0, c1, c2, c3)
    tl.store(words_ptr + 4 * o, w0.to(tl.int64))
    tl.store(words_ptr + 4 * o + 1, w1.to(tl.int64))
    tl.store(words_ptr + 4 * o + 2, w2.to(tl.int64))
    tl.store(words_ptr + 4 * o + 3, w3.to(tl.int64))
    w0, w1, w2, w3 = tl.randint4x(seed, o)
    tl.store(short_ptr + 4 * o, w0.to(tl.int64))
    tl.store(short_ptr + 4 * o + 1, w1.to(tl.int64))
    tl.store(short_ptr + 4 * o + 2, w2.to(tl.int64))
    tl.store(short_ptr + 4 * o + 3, w3.to(tl.int64))

counters, seed, out = torch.load(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
words, short = torch.full_like(counters, -1), torch.full_like(counters, -1)
kernel[(1,)](counters, words, short, seed, N=len(counters))
torch.save((words & 0xFFFFFFFF, short & 0xFFFFFFFF), out)
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
def test_words_are_those_of_triton(tmp_path):
    """The test needs a process of its own: the interpreter is chosen when Triton is imported."""
    seed, counters = 0x0123456789ABCDEF, random_counters(16)
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    torch.save(counters, tmp_path / "counters.pt")
    command = [sys.executable, program, tmp_path / "counters.pt", str(seed), tmp_path / "words.pt"]
    done = subprocess.run(
        command, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    from_philox, from_randint4x = torch.load(tmp_path / "words.pt")
    assert torch.equal(philox(seed, counters), from_philox)
    offsets = torch.zeros(16, 4, dtype=torch.int64)
    offsets[:, 0] = torch.arange(16)
    assert torch.equal(philox(seed, offsets), from_randint4x)


def test_elements_lie_as_documented():
    seed, stream, G = 99, [7, 2, 29], module.G
    got = normal(seed, torch.tensor([stream]), 10 * G)[0]
    flat = uniform(seed, torch.tensor([stream]), 10 * G)[0]
    for element in (0, 1, G - 1, G, 2 * G + 5, 4 * G - 1, 4 * G, 6 * G + 3, 9 * G):
        group, word, lane = element // (4 * G), element // G % 4, element % G
        u = [(w >> 9) / 2**23 + 2**-24 for w in python_philox(seed, [group * G + lane, *stream])]
        assert flat[element].item() == u[word]
        radius = math.sqrt(-2 * math.log(u[word // 2 * 2]))
        angle = 2 * math.pi * u[word // 2 * 2 + 1]
        assert got[element].item() == pytest.approx(radius * (math.cos, math.sin)[word % 2](angle), abs=1e-5)


@pytest.mark.parametrize("draw", [normal, uniform])
@pytest.mark.parametrize("tile", [1, 3 * 128, None])
def test_a_row_is_bitwise_the_same_alone_in_any_batch_and_for_any_count(draw, tile, monkeypatch):
    streams = torch.randint(0, 1000, (17, 3), generator=torch.Generator().manual_seed(1))
    expected = draw(5, streams, 1500)
    if tile:
        monkeypatch.setattr(module, "tile_elements", lambda device: tile)
    for row in (0, 8, 16):
        assert torch.equal(draw(5, streams[row : row + 1], 1500)[0], expected[row])
        assert torch.equal(draw(5, streams[row : row + 1], 7)[0], expected[row, :7])
    assert torch.equal(draw(5, streams.flip(0), 1501)[:, :1500], expected.flip(0))


def test_the_number_of_threads_does_not_matter():
    streams = torch.arange(12).view(4, 3)
    threads = torch.get_num_threads()
    results = []
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            results.append(normal(1, streams, 70_001))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_moments_of_normals():
    x = normal(2024, torch.tensor([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]), 250_000).double()
    n = x.numel()
    assert abs(x.mean()) < 4 / math.sqrt(n)
    assert abs(x.square().mean() - 1) < 4 * math.sqrt(2 / n)
    assert abs(x.pow(3).mean()) < 4 * math.sqrt(15 / n)
    assert abs(x.pow(4).mean() - 3) < 4 * math.sqrt(96 / n)
    correlation = torch.corrcoef(x) - torch.eye(4)  # neighbouring streams
    assert correlation.abs().max() < 4.5 / math.sqrt(x.shape[1])
    for lag in (1, module.G, 2 * module.G, 4 * module.G):
        assert abs((x[0, lag:] * x[0, :-lag]).mean()) < 4 / math.sqrt(x.shape[1] - lag)


def test_uniform_numbers_fill_the_open_interval():
    x = uniform(1, torch.zeros(1, 3, dtype=torch.int64), 1_000_000).double()
    assert 0 < x.min() < 1e-5
    assert 1 - 1e-5 < x.max() < 1
    counts = torch.histc(x, 100, 0, 1)
    assert (counts - 10_000).square().sum() / 10_000 < 160  # chi-square of 99 degrees: once in 10,000 seeds
    assert (x * 2**24 % 2 == 1).all()


@pytest.mark.parametrize(("count", "B"), [(0, 3), (5, 0)])
def test_nothing_asked_for_is_nothing_given(count, B):
    assert normal(0, torch.zeros(B, 3, dtype=torch.int64), count).shape == (B, count)


def define_directions(seed: int, step: int, D: int, M: int) -> torch.Tensor:
    """Directions in float64: block q M + m gives rows 4q to 4q + 3 of column m."""
    Q = -(-D // 4)
    counters = [[block, step & 0xFFFFFFFF, step >> 32, 0xFFFFFFFF] for block in range(Q * M)]
    leading = philox(seed, torch.tensor(counters)).bitwise_right_shift(9)
    u, v = ((leading.double() + 0.5) / 2**23).view(Q, M, 2, 2).unbind(-1)  # (Q, M, 2)
    radius, angle = (-2 * u.log()).sqrt(), 2 * math.pi * v
    rows = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=-1).view(Q, M, 4)
    columns = rows.transpose(1, 2).reshape(4 * Q, M)[:D]
    return columns / columns.norm(dim=0)


@settings(max_examples=30)
@given(
    seed=st.integers(0, (1 << 64) - 1), step=st.integers(0, (1 << 63) - 1), D=st.integers(1, 40), M=st.integers(1, 40)
)
def test_directions_lie_as_documented(seed, step, D, M):
    expected = define_directions(seed, step, D, M)
    for given_step in (step, torch.tensor(step)):
        got = directions(seed, given_step, D, M)
        assert got.is_contiguous()
        torch.testing.assert_close(got.double(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("tile", [1, 1000])
def test_the_tile_does_not_change_directions(tile, monkeypatch):
    expected = directions(5, 7, 33, 130)
    monkeypatch.setattr(module, "tile_elements", lambda device: tile)
    assert torch.equal(directions(5, 7, 33, 130), expected)


def test_directions_are_uniform_on_the_sphere():
    D, M = 6, 50_000
    u = directions(11, 3, D, M).double()
    torch.testing.assert_close(u.norm(dim=0), torch.ones(M, dtype=torch.float64), rtol=0, atol=3e-7)
    # The moments of one coordinate are 0, 1 / D, 0, 3 / D (D + 2); the product of two has the mean 0.
    assert u.mean(dim=1).abs().max() < 4.5 / math.sqrt(D * M)
    assert u.pow(3).mean(dim=1).abs().max() < 4.5 * math.sqrt(15 / (D * (D + 2) * (D + 4) * M))
    fourth = 3 / (D * (D + 2))
    eighth = fourth * 5 * 7 / ((D + 4) * (D + 6))
    assert (u.pow(4).mean(dim=1) - fourth).abs().max() < 4.5 * math.sqrt((eighth - fourth**2) / M)
    products = u @ u.T / M
    assert (products - torch.eye(D) / D).abs().max() < 4.5 * math.sqrt((fourth - 1 / D**2) / M)
    # On the sphere in three dimensions every coordinate is uniform (Archimedes).
    for coordinate in directions(11, 3, 3, M):
        counts = torch.histc(coordinate, 100, -1, 1).double()
        assert (counts - M / 100).square().sum() / (M / 100) < 160  # chi-square of 99 degrees: once in 10,000 seeds


def test_the_host_does_not_look_into_a_step():
    with FakeTensorMode():  # raises where a number is asked of a tensor
        drawn = directions(3, torch.zeros((), dtype=torch.int64), 8, 5)
    assert drawn.shape == (8, 5)


def test_directions_change_with_seed_and_step():
    first = directions(3, 17, 48, 500)
    assert torch.equal(first, directions(3, 17, 48, 500))
    # The mean of 500 unit columns is about 500^-1/2 long, and two sets are as uncorrelated as two draws.
    assert first.mean(dim=1).norm() < 2 / math.sqrt(500)
    for seed, step in ((3, 18), (4, 17), (3, 17 + (1 << 32))):
        assert abs((first * directions(seed, step, 48, 500)).sum(dim=0).mean()) < 4 / math.sqrt(48 * 500)


@pytest.mark.parametrize("seed", [-1, 1 << 64])
def test_a_seed_of_more_than_64_bits_is_refused(seed):
    with pytest.raises(ValueError, match=r"seed in \[0, 2\^64\)"):
        normal(seed, torch.zeros(1, 3, dtype=torch.int64), 4)


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match="count"):
        normal(0, torch.zeros(1, 3, dtype=torch.int64), -1)


@pytest.mark.parametrize(
    ("seed", "step", "D", "M", "message"),
    [
        (1 << 64, 0, 4, 3, r"seed in \[0, 2\^64\)"),
        (0, -1, 4, 3, r"step in \[0, 2\^63\), got -1"),
        (0, 1 << 63, 4, 3, r"step in \[0, 2\^63\)"),
        (0, torch.zeros(1, dtype=torch.int64), 4, 3, r"step \(\) of int64, got \(1,\)"),
        (0, torch.zeros(()), 4, 3, r"int64, got \(\) of torch.float32"),
        (0, 0, 0, 3, "D >= 1"),
        (0, 0, 4, 0, "M >= 1"),
        (0, 0, 5, (1 << 31) + 1, r"M <= 2\^32"),
    ],
)
def test_directions_that_cannot_be_drawn_are_refused(seed, step, D, M, message):
    # Past the annotations, which check the same thing only where tests switch them on.
    with pytest.raises(ValueError, match=message):
        module.check_directions(seed, step, D, M)
