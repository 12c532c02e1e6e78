"""An overview of all worlds, whether or not they can be used here."""

import importlib.metadata
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lewm_data.envs.registry import WORLDS, world


@dataclass(frozen=True)
class Overview:
    """A short description of a world.

    Attributes:
        name: Its name for users.
        gymnasium_id: Its Gymnasium id.
        about: Description in one line.
        extra: The extra to install for it, "push-t" for `pip install -e ".[push-t]"`; None if it needs none.
        installed: Whether the extra is installed.
        action_dim: Width of an action.
        state_dim: Width of a state.
        expert: Whether it has a policy that solves it.
        policies: Names of its policies.
        default_policy: The policy that collects data.
        factors: Factors that can vary between episodes: name to description.
    """

    name: str
    gymnasium_id: str
    about: str
    extra: str | None
    installed: bool
    action_dim: int
    state_dim: int
    expert: bool
    policies: tuple[str, ...]
    default_policy: str
    factors: Mapping[str, str]


def overview() -> tuple[Overview, ...]:
    """All worlds, in the registry's order."""
    found = []
    for place in map(world, WORLDS):
        found.append(
            Overview(
                name=place.name,
                gymnasium_id=place.gymnasium_id,
                about=place.about,
                extra=place.extra,
                installed=place.extra is None or is_installed(place.extra),
                action_dim=place.action_dim,
                state_dim=place.state_dim,
                expert="expert" in place.policies,
                policies=tuple(place.all_policies),
                default_policy=place.default_policy,
                factors={name: factor.about for name, factor in place.factors.items()},
            )
        )
    return tuple(found)


def is_installed(extra: str) -> bool:
    """Whether every package of one of lewm's extras is installed, in any version."""
    names = [re.split(r"[^\w.-]", one, maxsplit=1)[0] for one in _wanted(extra)]
    return bool(names) and all(_is_there(name) for name in names)


def _wanted(extra: str) -> list[str]:
    """The packages of an extra, from lewm's metadata, or from its source tree where lewm is not installed."""
    try:
        requirements = importlib.metadata.requires("lewm") or []
    except importlib.metadata.PackageNotFoundError:
        try:
            project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text("utf-8"))["project"]
            return list(project["optional-dependencies"][extra])
        except (OSError, ValueError, KeyError):  # no such file, or a file of another project
            return []
    return [one for one in requirements if re.search(rf"extra == .{extra}\W", one)]


def _is_there(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
