"""Runs code of the user's own that adds kinds: planners, costs, objectives, encoders."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

OPTION = "--import"


def load(named: Iterable[str]) -> None:
    """Run the code of files (ending in .py) and modules that the user typed behind --import.

    Raises:
        LewmError: a file is not there, or its name is that of another module.
        DataError: a module cannot be imported.
    """
    from lewm_data.modules import import_module

    for name in named:
        if name.endswith(".py"):
            _load_file(Path(name))
        else:
            import_module(name, OPTION, f"Give {OPTION} a file that ends in .py, or a module that can be imported.")


def _load_file(path: Path) -> None:
    from lewm.errors import LewmError

    if not path.is_file():
        raise LewmError(f"{path}: no such file", f"Give {OPTION} a file that ends in .py, or a module.")
    name, place = path.stem, path.resolve()
    there = sys.modules[name].__spec__ if name in sys.modules else importlib.util.find_spec(name)
    if there is not None and Path(there.origin or "").resolve() != place:
        raise LewmError(
            f'{path}: there is another module called "{name}"', "Give the file a name that nothing else has."
        )
    spec = importlib.util.spec_from_file_location(name, place)
    assert spec is not None and spec.loader is not None  # noqa: PT018  # both are there for every .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
