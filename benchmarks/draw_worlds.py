"""The picture of the worlds in README.md: the way of each world's expert to a goal.

    python benchmarks/draw_worlds.py docs/worlds.png

The picture shows, for each world, the first episode that its expert solves, with the noise of `lewm collect`.
"""

import argparse
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lewm.files import replacing
from lewm_data.collection.episodes import streams
from lewm_data.envs.registry import WORLDS, world
from lewm_data.envs.world import World

SIDE, SHOWN = 168, 6  # pixels of a frame, and frames of an episode
MARGIN, GAP, BESIDE, BETWEEN = 16, 6, 26, 30  # room around, between frames, before the goal, between worlds
HEADING, LABEL, UNDER = 25, 17, 25  # font sizes, and the room under a frame
INK, GREY, GREEN, PAPER = (28, 33, 41), (110, 117, 127), (26, 127, 55), (255, 255, 255)
TITLES = {"two-room": "Two-Room", "push-t": "Push-T", "reacher": "Reacher", "cube": "OGBench-Cube"}


@dataclass(frozen=True)
class Episode:
    """An episode by some of its frames, uint8 (Y, X, 3), at these steps; the goal is reached at the last."""

    frames: list[np.ndarray]
    steps: list[int]
    goal: np.ndarray


def solved_episode(place: World, seed: int) -> Episode:
    """The first episode of a seed in which the expert reaches the goal, until it does."""
    env = place.make(1, SIDE, False)
    expert = place.policy("expert", env)
    for number in itertools.count():
        for_env, for_policy, _ = streams(seed, number)
        observation, _ = env.reset(seed=[for_env])
        expert.reset(np.arange(1), [for_policy])
        goal = env.render_goal()[0]
        states, over = [env.state], False
        while not (over or env.is_solved()[0]):
            observation, _, terminated, truncated, _ = env.step(expert.act(observation))
            states.append(env.state)
            over = bool((terminated | truncated)[0])
        if env.is_solved()[0]:
            break
    steps = np.linspace(0, len(states) - 1, SHOWN).round().astype(int).tolist()
    frames = []
    for step in steps:
        env.set_state(states[step])
        drawn = env.render()
        assert drawn is not None
        frames.append(drawn[0])
    env.close()
    return Episode(frames, steps, goal)


def laid_out(episodes: dict[str, Episode]) -> Image.Image:
    """A picture with a row for each world: its name and description, the episode, and on the right the goal."""
    large: Any = ImageFont.load_default(HEADING)
    small: Any = ImageFont.load_default(LABEL)
    row = HEADING + 12 + SIDE + UNDER
    width = 2 * MARGIN + (SHOWN + 1) * SIDE + (SHOWN - 1) * GAP + BESIDE
    height = 2 * MARGIN + len(episodes) * row + (len(episodes) - 1) * BETWEEN
    canvas = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(canvas)
    for index, (name, episode) in enumerate(episodes.items()):
        top = MARGIN + index * (row + BETWEEN)
        base = top + HEADING
        draw.text((MARGIN, base), TITLES[name], INK, large, anchor="ls")
        about = MARGIN + large.getlength(TITLES[name]) + 14
        draw.text((about, base), world(name).about, GREY, small, anchor="ls")
        top = base + 12
        labels = ["start", *(f"step {step}" for step in episode.steps[1:])]
        for column, (label, frame) in enumerate(zip(labels, episode.frames, strict=True)):
            _framed(canvas, frame, MARGIN + column * (SIDE + GAP), top, GREY, 1)
            draw.text((MARGIN + column * (SIDE + GAP), top + SIDE + 6), label, GREY, small, anchor="lt")
        left = width - MARGIN - SIDE
        _framed(canvas, episode.goal, left, top, GREEN, 3)
        draw.text((left, top + SIDE + 6), "goal", GREEN, small, anchor="lt")
    return canvas


def _framed(canvas: Image.Image, frame: np.ndarray, left: int, top: int, ink: tuple[int, int, int], edge: int) -> None:
    canvas.paste(Image.fromarray(frame), (left, top))
    box = (left - edge, top - edge, left + SIDE - 1 + edge, top + SIDE - 1 + edge)
    ImageDraw.Draw(canvas).rectangle(box, outline=ink, width=edge)


def main() -> None:
    """Writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    picture = laid_out({name: solved_episode(world(name), arguments.seed) for name in WORLDS})
    with replacing(arguments.out) as temporary:
        picture.save(temporary, "png", optimize=True)


if __name__ == "__main__":
    main()
