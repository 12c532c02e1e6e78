"""Modules of the user's."""

import importlib
import os
import sys
from types import ModuleType

from lewm_data.errors import DataError


def import_module(name: str, wanted: str, remedy: str) -> ModuleType:
    """The module called `name`; those of the present directory are found too.

    Args:
        name: "package.module".
        wanted: What it is imported for, for messages.
        remedy: What to do where it is not there.

    Raises:
        DataError: It cannot be imported.
    """
    if (here := os.getcwd()) not in sys.path:  # noqa: PTH109  # paths of modules are text
        sys.path.append(here)
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DataError(f"{wanted}: {name} cannot be imported: {error}", remedy) from error
