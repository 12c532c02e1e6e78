"""Films of episodes."""

import sys

import numpy as np
import pytest

from lewm.decoding.panels import BORDER
from lewm.evaluation.episodes import Film
from lewm.evaluation.film import HOLD, compose, film_writer


def test_videos_say_what_to_install_before_anything_is_planned(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ValueError, match=r'pip install -e "\.\[video\]"'):
        film_writer(tmp_path / "films", "mp4")
    assert not list(tmp_path.iterdir())


def test_films_show_the_episode_beside_the_goal(tmp_path):
    frames = np.zeros((3, 128, 128, 3), np.uint8)
    frames[2] = 9
    goal = np.full((128, 128, 3), 77, np.uint8)
    for solved in (True, False, None):
        film = compose(Film(0, frames, goal, solved))
        assert film.shape == (2 + HOLD, 256 + 2 * BORDER, 2 * (256 + 2 * BORDER), 3)
        assert (film[0, BORDER:-BORDER, BORDER : BORDER + 256] == 0).all()
        assert (film[-1, BORDER:-BORDER, BORDER : BORDER + 256] == 9).all()
        assert (film[:, BORDER:-BORDER, -BORDER - 256 : -BORDER] == 77).all()
        red, green, _ = film[-1, 0, 0].astype(int)
        assert np.sign(green - red) == {True: 1, False: -1, None: 0}[solved]
    imagined = np.full((3, 64, 64, 3), 33, np.uint8)
    film = compose(Film(0, frames, goal, True, imagined))
    assert film.shape == (2 + HOLD, 256 + 2 * BORDER, 3 * (256 + 2 * BORDER), 3)
    middle = film[:, BORDER:-BORDER, 256 + 3 * BORDER : 2 * 256 + 3 * BORDER]
    assert (middle == 33).all()
    assert (film[:, BORDER:-BORDER, -BORDER - 256 : -BORDER] == 77).all()
    film_writer(tmp_path / "films", "mp4")(Film(4, frames, goal, True))
    assert [file.name for file in (tmp_path / "films").iterdir()] == ["episode-0004.mp4"]
