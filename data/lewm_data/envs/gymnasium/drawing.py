"""Gymnasium environments that draw, and their frames.

Letters: V and U the sides of the picture that an environment draws, Y and X those of a frame.
"""

import functools
import itertools
import math
import os
from typing import Any

import gymnasium
import numpy as np
from jaxtyping import Float32, Shaped, UInt8

from lewm_data.envs.mujoco.headless import choose_renderer
from lewm_data.errors import DataError, missing
from lewm_data.video.placing import place

# Parts of the names of modules and classes whose environments MuJoCo draws, in Gymnasium and in packages of others.
DRAWN_WITH_MUJOCO = ("mujoco", "dm_control", "dmcontrol")

# The extra of this project that installs a module which Gymnasium's own environments need.
EXTRAS = {"pygame": "gymnasium", "Box2D": "box2d", "mujoco": "mujoco"}


def open_env(gymnasium_id: str) -> gymnasium.Env[Any, Any]:
    """Makes the environment so that it draws frames and has no limit of steps.

    Raises:
        DataError: It does not draw frames, or a package that it needs is not installed.
    """
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # else pygame fails where there is no screen
    made_by = str(gymnasium.spec(gymnasium_id).entry_point).lower()
    if any(name in made_by for name in DRAWN_WITH_MUJOCO):
        choose_renderer()
    try:
        env = gymnasium.make(gymnasium_id, render_mode="rgb_array", max_episode_steps=-1, disable_env_checker=True)
    except (gymnasium.error.Error, ImportError) as error:
        raise _unusable(gymnasium_id, error) from error
    except TypeError as error:
        if "render_mode" not in str(error):
            raise
        raise _not_drawing(gymnasium_id, "takes no render_mode") from error
    modes = env.metadata.get("render_modes") or []
    if "rgb_array" not in modes:
        env.close()
        raise _not_drawing(gymnasium_id, f"has the render modes {', '.join(map(str, modes)) or 'none'}")
    return env


def drawn(env: gymnasium.Env[Any, Any], gymnasium_id: str) -> UInt8[np.ndarray, "V U 3"]:
    """The picture that an environment draws.

    Raises:
        DataError: It draws no frame, or a package that drawing needs is not installed.
    """
    try:
        frame = env.render()
    except (gymnasium.error.Error, ImportError) as error:
        raise _unusable(gymnasium_id, error) from error
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        found = f"{frame.dtype} {frame.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
        raise _not_drawing(gymnasium_id, f"draws {found}, expected uint8 (Y, X, 3)")
    return frame


def square(picture: UInt8[np.ndarray, "V U 3"], size: int, fit: str) -> UInt8[np.ndarray, "Y X 3"]:
    """A picture as a frame of `size` pixels a side; `fit` says how it becomes square, see `placing.place`."""
    placing = place((picture.shape[0], picture.shape[1]), (size, size), fit)
    frame = np.zeros((size, size, 3), np.uint8)
    frame[placing.filled] = resized(picture[placing.kept], *placing.inner)
    return frame


def resized(frame: UInt8[np.ndarray, "V U 3"], rows: int, columns: int) -> UInt8[np.ndarray, "Y X 3"]:
    """A frame stretched to `rows` and `columns` of pixels: each pixel is the mean over its area."""
    lower = _averaged(frame, rows)  # (Y, U, 3)
    smaller = _averaged(lower.swapaxes(0, 1), columns).swapaxes(0, 1)
    # A little more than a half: every machine then rounds up means that end in one half, despite float32.
    return (smaller + 0.501).astype(np.uint8)


def _averaged(rows: Shaped[np.ndarray, "V U 3"], size: int) -> Float32[np.ndarray, "size U 3"]:
    flat = rows.reshape(len(rows), -1)
    return np.stack([shares @ flat[part] for part, shares in _areas(len(rows), size)]).reshape(size, *rows.shape[1:])


@functools.cache
def _areas(source: int, target: int) -> list[tuple[slice, np.ndarray]]:
    """For each of `target` pixels in a row: which of `source` pixels it covers, and the share of it on each of them."""
    edges = np.arange(target + 1) * (source / target)
    found = []
    for begin, end in itertools.pairwise(edges):
        pixels = np.arange(int(begin), min(math.ceil(end), source))
        overlap = np.minimum(end, pixels + 1) - np.maximum(begin, pixels)
        found.append((slice(pixels[0], pixels[-1] + 1), (overlap / overlap.sum()).astype(np.float32)))
    return found


def _unusable(gymnasium_id: str, error: Exception) -> DataError:
    for one in (error, error.__cause__):
        if isinstance(one, ModuleNotFoundError) and one.name in EXTRAS:
            return missing(f"{gymnasium_id}: needs {one.name}", EXTRAS[one.name])
    return DataError(f"{gymnasium_id}: cannot be made or drawn: {error}", "Install what it needs.")


def _not_drawing(gymnasium_id: str, found: str) -> DataError:
    return DataError(
        f"{gymnasium_id}: {found}: it cannot be learnt from pixels",
        'Use an environment whose render() gives frames with render_mode="rgb_array".',
    )
