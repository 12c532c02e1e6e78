"""Where the code of a Gymnasium environment is from, and all else that a trial of it depends on."""

import hashlib
import importlib.metadata
import os
import platform
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium

from lewm_data.blame import is_installed
from lewm_data.envs.mujoco.headless import VARIABLE
from lewm_data.video import placing

ADDRESS = re.compile(" at 0x[0-9a-f]+")  # in what Python says of an object that has another address in each process
RULE = (*sorted(Path(__file__).parent.glob("*.py")), Path(placing.__file__))  # the code of the trial


def judged_from(gymnasium_id: str, fit: str) -> Mapping[str, str] | None:
    """What a trial of an environment of installed packages depends on, by name.

    The versions of all packages are among it, because any of them may draw. None where the environment is registered
    with an object that cannot be named.
    """
    spec = repr(gymnasium.spec(gymnasium_id))
    if ADDRESS.search(spec):
        return None
    return {
        "environment": spec,
        "fit": fit,
        "packages": hashlib.sha256("\n".join(_packages()).encode()).hexdigest(),
        "rule": hashlib.sha256(b"".join(path.read_bytes() for path in RULE)).hexdigest(),
        "python": platform.python_version(),
        "machine": platform.platform(),
        "renderer": os.environ.get(VARIABLE, ""),
    }


def all_installed(env: gymnasium.Env[Any, Any]) -> bool:
    """Whether the classes of an environment and of its wrappers, with all that they inherit, are of packages."""
    while True:
        for module in {one.__module__ for one in type(env).__mro__} - set(sys.builtin_module_names):
            file = getattr(sys.modules.get(module), "__file__", None)
            if file is None or not is_installed(file):
                return False
        if not isinstance(env, gymnasium.Wrapper):
            return True
        env = env.env


def _packages() -> list[str]:
    """Name, version and, where it was not a package index, origin of everything that is installed."""
    return sorted(
        f"{one.metadata['Name']} {one.version} {one.read_text('direct_url.json')}"
        for one in importlib.metadata.distributions()
    )
