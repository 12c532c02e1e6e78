"""Whose code an exception comes from: this project's, or an environment, policy or function that a user gave."""

import sysconfig
import traceback
from dataclasses import dataclass
from pathlib import Path

OURS = {"lewm", "lewm_cli", "lewm_data", "lewm_kernels"}

# The modules that call environments of Gymnasium; such an environment may come from any installed package.
CALLERS = {f"lewm_data.envs.gymnasium.{module}" for module in ("drawing", "interface", "simulator")}

STANDARD = sysconfig.get_path("stdlib")
INSTALLED = {"site-packages", "dist-packages"}


def is_installed(file: str) -> bool:
    """Whether code is of an installed package or of Python itself."""
    return bool(INSTALLED & set(Path(file).parts)) or file.startswith(("<", STANDARD))


@dataclass(frozen=True)
class _Place:
    module: str
    file: str
    line: int | None

    @property
    def is_ours(self) -> bool:
        return self.module.partition(".")[0] in OURS

    @property
    def is_users(self) -> bool:
        """Whether the code belongs neither to this project nor to Python nor to an installed package."""
        return not self.is_ours and not is_installed(self.file)

    @property
    def is_outside_python(self) -> bool:
        installed = INSTALLED & set(Path(self.file).parts)
        return not self.file.startswith("<") and (bool(installed) or not self.file.startswith(STANDARD))


def raised_by_user(error: BaseException) -> str | None:
    """ "/home/me/ice.py, line 12, raised ValueError: no puck", or None where no code of the user's was running.

    The line is the innermost one of the user's code, whatever it called. A module of the user's that is not written in
    Python counts too.
    """
    places = [
        _Place(str(frame.f_globals.get("__name__")), frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    ours = [index for index, place in enumerate(places) if place.is_ours]
    if not ours:
        return None
    if isinstance(error, SyntaxError) and error.filename:
        places.append(_Place("", error.filename, error.lineno))
    called = [place for place in places[ours[0] + 1 :] if place.is_users]
    if not called and places[ours[-1]].module in CALLERS:
        called = [place for place in places[ours[-1] + 1 :] if place.is_outside_python] or [places[ours[-1]]]
    if not called:
        return None
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    what = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return f"{called[-1].file}, line {called[-1].line}, raised {what}"
