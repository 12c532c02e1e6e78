"""Figures show any text as it is."""

import os

import numpy as np
from matplotlib import image

from lewm.figures import figure


def drawn(path, title):
    with figure(path, 3.0, 2.0) as canvas:
        panel = canvas.subplots()
        panel.plot([1, 2], [0.01, 10])
        panel.set_title(title)
    return image.imread(path)


def test_names_that_are_not_utf8_or_look_like_formulas_are_drawn(tmp_path):
    plain = drawn(tmp_path / "a.png", "x y")
    for name in ("$x^$", "a$\\frac{1}$b", os.fsdecode(b"\xff.mp4"), "a\x1b[31mb\r"):
        assert not np.array_equal(drawn(tmp_path / "b.png", name), plain)
    assert np.array_equal(drawn(tmp_path / "b.png", "a\x1bb"), drawn(tmp_path / "c.png", r"a\x1bb"))


def test_the_powers_of_a_logarithmic_axis_are_still_set_as_powers(tmp_path):
    with figure(tmp_path / "a.png", 3.0, 2.0) as canvas:
        panel = canvas.subplots()
        panel.plot([1, 2], [0.01, 10])
        panel.set(title="$x^$", yscale="log")
    powers = [one for one in panel.get_yticklabels() if "^{" in one.get_text()]
    assert powers
    assert all(one.get_parse_math() for one in powers)
