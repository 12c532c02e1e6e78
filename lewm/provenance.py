"""The versions and the commit that produced a result."""

from __future__ import annotations

import platform
import subprocess
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_ROOT = Path(__file__).parent.parent


def versions() -> dict[str, str]:
    """Versions that a result depends on; "unknown" where neither metadata nor source tree tells one."""
    return {
        "lewm": _installed("lewm") or _of_source_tree() or "unknown",
        "torch": _installed("torch") or "unknown",
        "numpy": _installed("numpy") or "unknown",
        "python": platform.python_version(),
    }


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _of_source_tree() -> str | None:
    """What the pyproject.toml beside this package says, where the package runs from its source tree."""
    try:
        project = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))["project"]
        return project["version"] if project["name"] == "lewm" else None
    except (OSError, ValueError, KeyError):  # no such file, or not one of this project
        return None


def commit() -> str | None:
    """The commit of the working tree that this package runs from, with "+dirty" for uncommitted changes.

    None outside a checkout.
    """
    if not (_ROOT / ".git").exists():
        return None
    try:
        git = ["git", "-C", str(_ROOT)]
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, check=True).stdout
        dirty = subprocess.run([*git, "status", "--porcelain"], capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.decode().strip() + "+dirty" * bool(dirty.strip())
