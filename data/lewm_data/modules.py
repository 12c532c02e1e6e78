"""Import of the user's modules."""

import importlib
import os
import sys
from types import ModuleType

from lewm_data.errors import DataError


def import_module(name: str, wanted: str, remedy: str) -> ModuleType:
    """Imports the module called `name`; modules of the present directory are found too.

    This runs the module's code: give only a name that the user typed, never one from a file.

    Args:
        name: "package.module".
        wanted: The purpose of the import, for messages.
        remedy: The second line of the error, where there is no such module.

    Raises:
        DataError: The module cannot be imported.
    """
    if (here := os.getcwd()) not in sys.path:  # noqa: PTH109  # entries of sys.path are text
        sys.path.append(here)
    if not all(part.isidentifier() for part in name.split(".")):
        raise DataError(f'{wanted}: "{name}" is no name of a module', remedy)
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DataError(f"{wanted}: {name} cannot be imported: {error}", remedy) from error
