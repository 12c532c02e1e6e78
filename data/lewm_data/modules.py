"""Modules of the user's."""

import importlib
import os
import sys
from types import ModuleType

from lewm_data.errors import DataError


def import_module(name: str, wanted: str, remedy: str) -> ModuleType:
    """The module called `name`; those of the present directory are found too.

    It runs the module's code: give only a name that the user typed, never one from a file.

    Args:
        name: "package.module".
        wanted: What it is imported for, for messages.
        remedy: What to do where it is not there.

    Raises:
        DataError: It cannot be imported.
    """
    if (here := os.getcwd()) not in sys.path:  # noqa: PTH109  # paths of modules are text
        sys.path.append(here)
    if not all(part.isidentifier() for part in name.split(".")):
        raise DataError(f'{wanted}: "{name}" is no name of a module', remedy)
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DataError(f"{wanted}: {name} cannot be imported: {error}", remedy) from error
