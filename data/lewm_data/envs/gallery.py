"""A picture of a world: where episodes begin and should end, and what each policy does.

Letters: N episodes, T steps of an episode, F frames that are shown of each, Y and X the sides of a frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from lewm_data.collection.episodes import streams
from lewm_data.collection.factors import draw_factors, named_factors
from lewm_data.envs.gymnasium.vector_env import GymnasiumVectorEnv
from lewm_data.envs.world import World, WorldEnv
from lewm_data.errors import DataError, missing
from lewm_data.temporary import replacing

if TYPE_CHECKING:
    from PIL import Image

SHOWN = 7  # frames that are shown of an episode
MOST_PIXELS = 2**29  # the largest picture takes 1.6 GB, and its frames take as much again
LEAST_SIDE = 128  # the least side of a frame in the picture, in pixels: small frames are enlarged by a whole factor
MARGIN, GAP, LINE, BREAK = 24, 8, 20, 16
TITLE, LABEL = 22, 13  # font sizes
INK, GREY, GREEN, PAPER = (35, 40, 48), (120, 126, 135), (30, 130, 60), (255, 255, 255)


@dataclass(frozen=True)
class Strip:
    """Some frames of an episode.

    Attributes:
        frames: The frames at `steps`, the first and the last frame among them.
        goal: The frame of the goal; None where an episode begins without a goal.
        solved: The first step at which the goal was reached; None where it never was reached.
    """

    frames: UInt8[np.ndarray, "F Y X 3"]
    steps: tuple[int, ...]
    goal: UInt8[np.ndarray, "Y X 3"] | None
    solved: int | None


def draw_gallery(
    world: World, path: Path, *, frame_size: int = 128, episodes: int = 2, seed: int = 0, vary: str = ""
) -> None:
    """Writes a PNG with the first episodes that `collect` would record with each of the world's policies.

    Args:
        world: The world to show.
        path: The file; an existing one is replaced.
        frame_size: Pixels a side of the frames.
        episodes: Number of episodes of each policy; they begin alike for all policies.
        seed: Seed of every random choice.
        vary: Factors of variation drawn for each episode, or "all".

    Raises:
        DataError: A factor is unknown, the picture would have more than `MOST_PIXELS`, or a package that the world
            needs, or Pillow, is not installed.
    """
    found = episodes * len(world.all_policies) * (SHOWN + 1) * max(frame_size, LEAST_SIDE) ** 2
    if found > MOST_PIXELS:
        raise DataError(
            f"a picture of {found:,} pixels, at most {MOST_PIXELS:,} are drawn",
            "Ask for fewer episodes or smaller frames.",
        )
    try:
        import PIL.ImageDraw  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing("a picture needs Pillow", "video") from error
    varying = named_factors(world, vary)
    rows = [
        (name, strip)
        for name in world.all_policies
        for strip in play_strips(world, name, frame_size, episodes, seed, varying)
    ]
    image = _laid_out(f"{world.name}: {world.about}", rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        image.save(temporary, "png")


def play_strips(
    world: World, policy: str, frame_size: int, episodes: int, seed: int, varying: tuple[str, ...]
) -> list[Strip]:
    """Episodes 0, 1, 2, ... of `seed` as a policy of the world plays them. Only frames that are shown are drawn."""
    env = world.make(episodes, frame_size, False)
    try:
        acting = world.policy(policy, env)
        drawn = [streams(seed, episode) for episode in range(episodes)]
        factors = [draw_factors(world, varying, rng) for _, _, rng in drawn]
        observation, _ = env.reset(seed=[number for number, _, _ in drawn], options={"factors": factors})
        acting.reset(np.arange(episodes), [rng for _, rng, _ in drawn])
        goals = env.render_goal() if world.restorable else [None] * episodes
        states, actions, solved = [env.state], [], [env.is_solved()]
        length = np.zeros(episodes, np.int64)
        ended = np.zeros(episodes, np.bool_)
        while not ended.all():
            actions.append(acting.act(observation))
            observation, _, terminated, truncated, _ = env.step(actions[-1])
            states.append(env.state)
            solved.append(env.is_solved() & ~ended)
            length += ~ended
            ended |= terminated | truncated
        steps = np.linspace(0, length, SHOWN).round().astype(np.int64)  # (F, N)
        frames = []
        for now in steps:
            if isinstance(env, GymnasiumVectorEnv):
                each = [np.stack(actions)[:step, slot] for slot, step in enumerate(now.tolist())]
                env.replay(observation["episode_seed"], each, [one[:0] for one in each])
            else:
                env.set_state(np.stack([states[step][slot] for slot, step in enumerate(now.tolist())]))
            frames.append(_rendered(env))
    finally:
        env.close()
    shown = np.stack(frames, axis=1)  # (N, F, Y, X, 3)
    reached = np.stack(solved, axis=1)  # (N, T)
    return [
        Strip(
            shown[slot],
            tuple(steps[:, slot].tolist()),
            goals[slot],
            int(reached[slot].argmax()) if reached[slot].any() else None,
        )
        for slot in range(episodes)
    ]


def _rendered(env: WorldEnv) -> UInt8[np.ndarray, "N Y X 3"]:
    frames = env.render()
    assert frames is not None
    return np.stack(frames)


def _laid_out(title: str, rows: Sequence[tuple[str, Strip]]) -> "Image.Image":
    """The picture, with one row for each episode: its goal, then its frames, each under its label."""
    from PIL import Image, ImageDraw, ImageFont

    small: Any = ImageFont.load_default(LABEL)
    large: Any = ImageFont.load_default(TITLE)
    size = rows[0][1].frames.shape[1]
    side = size * max(1, -(-LEAST_SIDE // size))
    names = MARGIN + max(round(small.getlength(name)) for name, _ in rows) + 2 * GAP
    with_goals = rows[0][1].goal is not None
    width = names + SHOWN * (side + GAP) + with_goals * (side + 3 * GAP) + MARGIN
    policies = len({name for name, _ in rows})
    height = MARGIN + 2 * TITLE + len(rows) * (LINE + side + GAP) + (policies - 1) * BREAK + MARGIN
    canvas = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((MARGIN, MARGIN), title, INK, large)
    top = MARGIN + 2 * TITLE
    for index, (name, strip) in enumerate(rows):
        if index == 0 or rows[index - 1][0] != name:
            top += BREAK if index else 0
            draw.text((MARGIN, top + LINE + side // 2), name, INK, small, anchor="lm")
        left = names
        shown = [
            ("start" if step == 0 else f"step {step}", frame)
            for step, frame in zip(strip.steps, strip.frames, strict=True)
        ]
        if strip.goal is not None:
            shown.insert(0, ("goal" if strip.solved is None else f"goal, at step {strip.solved}", strip.goal))
        for column, (label, frame) in enumerate(shown):
            is_goal = column == 0 and strip.goal is not None
            color = GREEN if is_goal and strip.solved is not None else GREY
            enlarged = frame.repeat(side // size, axis=0).repeat(side // size, axis=1)
            draw.text((left, top + LINE - 4), label, color, small, anchor="ls")
            canvas.paste(Image.fromarray(enlarged), (left, top + LINE))
            draw.rectangle((left - 1, top + LINE - 1, left + side, top + LINE + side), outline=GREY)
            left += side + GAP + (2 * GAP if is_goal else 0)
        top += LINE + side + GAP
    return canvas
