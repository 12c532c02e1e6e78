"""Reads hostile files, each in a process of its own that may take little memory. Run by test_readers.py.

A line of standard input is a reader's name and a path in JSON; the answer on standard output is null where the file was
read, else the error's type and its message.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lewm import recipes
from lewm.checkpoints import released, run
from lewm.checkpoints.released_config import read_released_config
from lewm.config import resolve
from lewm.evaluation.from_env import read_goal
from lewm.evaluation.manifest import read_tasks
from lewm_data.envs.registry import world
from lewm_data.video.action_files import read_actions
from lewm_data.video.sources import open_source
from lewm_data.video.video import import_av

MORE = 2**30  # bytes of address space that a reader may take: a picture of the largest size takes two thirds

RECIPE = recipes.small("two-room", 2)
TWO_ROOM = world("two-room")
import_av("reading")


def watch(path: Path) -> None:
    """Reads a video or a folder of images to the end."""
    with open_source(str(path)) as source:
        for _ in source.frames(fps=10.0, size=(16, 16)):
            pass


READERS: dict[str, Callable[[Path], Any]] = {
    "video": watch,
    "picture": lambda path: read_goal(path, 16, "crop"),
    "actions": lambda path: read_actions(path, 2),
    "configuration": lambda path: resolve(RECIPE, path),
    "run": lambda path: run.read_config(path.parent),
    "tasks": lambda path: read_tasks(path, TWO_ROOM),
    "released configuration": read_released_config,
    "released weights": lambda path: released.read_weights(path, 1000),
    "tensors": run.read_tensors,
}


def read(reader: str, path: Path) -> tuple[str, str] | None:
    """The error that a reader ends in."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MORE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        READERS[reader](path)
    except BaseException as error:
        return type(error).__name__, str(error)
    return None


def main() -> None:
    """Answers until there is no more to read."""
    for line in sys.stdin:
        reader, path = json.loads(line)
        child = os.fork()
        if child == 0:
            answer = read(reader, Path(path))
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            sys.stdout.write(json.dumps(["killed", f"status {status}"]) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
