"""What a format hands over: the episodes of a source, one after the other, as they are recorded.

A format is a module with two functions, which `formats.FORMATS` names: one that recognises a path, and one that opens
it. Opening reads indexes and checks them, but no picture. The conversion asks for one episode at a time, so memory does
not grow with the source.

Letters: R rows of an episode, Y and X the sides of a picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64, Shaped, UInt8

from lewm_data.convert.appearance import NO_DOUBT, Doubt
from lewm_data.errors import DataError, unknown

if TYPE_CHECKING:
    import av


@dataclass(frozen=True)
class Episode:
    """One episode of a source.

    Attributes:
        name: Where it is from, for messages: a file, or a file and a number in it.
        rows: R, how many pictures there are.
        columns: Numbers by the name that they get, a row for each picture. "action" is required: row t is the action
            taken from picture t on. It and "reward" may have a row less than there are pictures; where "action" has as
            many, its last row is not used, because no picture follows it.
        times: Seconds of each row (R,), ascending; None where the source has no clock.
        pictures: Opens the R pictures, which are decoded while they are asked for: `av.VideoFrame`, or uint8 (Y, X, 3).
    """

    name: str
    rows: int
    columns: Mapping[str, Shaped[np.ndarray, "_ ..."]]
    times: Float64[np.ndarray, " R"] | None
    pictures: Callable[[], Iterator[av.VideoFrame | UInt8[np.ndarray, "Y X 3"]]]


def nothing() -> None:
    """Does nothing: the `close` of a source that keeps nothing open."""


@dataclass(frozen=True)
class Source:
    """An open source.

    Attributes:
        format: What its format is called, for example "LeRobot v3".
        episodes: The names of its episodes, in their order.
        read: Reads the episode of a number, from 0; raises DataError where it is damaged.
        assumptions: What was assumed, a plain sentence each: the camera, which columns are the actions and in which
            unit, what was left out.
        size: Y and X of the pictures, in the first episode where they differ.
        picture: Reads the first picture of an episode, where pictures of different sizes may be in one source; raises
            DataError where it is damaged. None where all have one size.
        fps: Rows a second; None where the source has no clock.
        doubt: What is assumed about colours and about which way up the pictures are, where the user says nothing.
        fps_of: What says so, for messages.
        action_names: The names of the numbers of an action, where the source has them.
        attributes: Attributes that the dataset gets beside those of every conversion, such as "robot".
        close: Ends all reading.
    """

    format: str
    episodes: tuple[str, ...]
    read: Callable[[int], Episode]
    assumptions: tuple[str, ...]
    size: tuple[int, int]
    picture: Callable[[int], av.VideoFrame | UInt8[np.ndarray, "Y X 3"]] | None = None
    fps: float | None = None
    doubt: Doubt = NO_DOUBT
    fps_of: str = "the first episode"
    action_names: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    close: Callable[[], None] = nothing


@dataclass(frozen=True)
class Format:
    """A format that can be converted.

    Attributes:
        name: What it is called in messages.
        recognises: Whether a path looks like one, by its name and the names in it or the first bytes; raises nothing.
        opens: Opens a path that it recognises; the second argument is the camera that the user names, or None.
    """

    name: str
    recognises: Callable[[Path], bool]
    opens: Callable[[Path, str | None], Source]


def choose_camera(where: str, cameras: list[str], wanted: str | None) -> tuple[str, str]:
    """The camera to take, and the assumption in words.

    Args:
        where: The source, for errors.
        cameras: The names of its cameras; not empty.
        wanted: The name that the user gave: one of them, or the end of one after a "." or "/".

    Raises:
        DataError: There is no such camera, or there are several and the user named none.
    """
    if wanted is not None:
        found = [one for one in cameras if one == wanted]
        found = found or [one for one in cameras if one.replace("/", ".").endswith(f".{wanted}")]
        if len(found) != 1:
            raise unknown(f"camera of {where}", wanted, cameras)
        return found[0], _camera_said(found[0], cameras)
    if len(cameras) > 1:
        raise DataError(
            f"{where}: has {len(cameras)} cameras: {', '.join(cameras)}", f"Name one: --camera {cameras[0]}"
        )
    return cameras[0], _camera_said(cameras[0], cameras)


def _camera_said(camera: str, cameras: list[str]) -> str:
    others = [one for one in cameras if one != camera]
    return f"camera {camera}" + (f"; left out: {', '.join(others)}" if others else ", the only one")
