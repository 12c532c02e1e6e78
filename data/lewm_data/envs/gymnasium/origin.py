"""Where the code of a Gymnasium environment is from, and all else that a trial of it depends on."""

import dataclasses
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import gymnasium

from lewm_data.blame import is_installed
from lewm_data.envs.mujoco.headless import VARIABLE
from lewm_data.video import placing

RULE = (*sorted(Path(__file__).parent.glob("*.py")), Path(placing.__file__))  # the code of the trial


class _NamelessError(Exception):
    """A value that cannot be named so that the same name means the same value in another process."""


def judged_from(gymnasium_id: str, fit: str) -> Mapping[str, str] | None:
    """What a trial of an environment of installed packages depends on, by name.

    The versions of all packages are among it, because any of them may draw. None where the environment is registered
    with something that cannot be named.
    """
    spec = gymnasium.spec(gymnasium_id)
    try:
        rest = [one.name for one in dataclasses.fields(spec) if one.init and one.name != "id"]  # the others follow
        registered = {"id": spec.id, **{name: _named(getattr(spec, name)) for name in rest}}
    except (_NamelessError, RecursionError, ValueError):  # a value that holds itself; a variable that has no value yet
        return None
    return {
        "environment": json.dumps(registered, sort_keys=True),
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
        if not all(_module_is_installed(one.__module__) for one in type(env).__mro__):
            return False
        if not isinstance(env, gymnasium.Wrapper):
            return True
        env = env.env


def _module_is_installed(name: str) -> bool:
    file = getattr(sys.modules.get(name), "__file__", None)
    return name in sys.builtin_module_names or (file is not None and is_installed(file))


def _named(value: Any) -> Any:  # noqa: ANN401  # an environment may be registered with anything
    """A value as JSON has it. Functions, classes and modules of packages have their names there.

    Raises:
        _NamelessError: It is, or holds, anything else.
    """
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return {str(name): _named(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_named(one) for one in value]
    if isinstance(value, functools.partial):
        return [_named(one) for one in (value.func, value.args, value.keywords)]
    if isinstance(value, ModuleType) and _module_is_installed(value.__name__):
        return value.__name__
    if isinstance(value, type) and _module_is_installed(value.__module__):
        return f"{value.__module__}:{value.__qualname__}"
    if isinstance(value, FunctionType) and _module_is_installed(value.__module__):
        kept = [value.__defaults__, value.__kwdefaults__, [cell.cell_contents for cell in value.__closure__ or ()]]
        return [f"{value.__module__}:{value.__qualname__}", value.__code__.co_firstlineno, _named(kept)]
    raise _NamelessError


def _text(value: str) -> Any:  # noqa: ANN401  # that of `_named`
    """A text, with the value that it names where it is "module:name" of a module that is loaded.

    Raises:
        _NamelessError: It names a module that is of no package, or a file or folder that is of none. A file may name
            further files, so its contents would not be enough.
    """
    path = os.path.expanduser(value)  # noqa: PTH111  # the functions of `os.path` take any text
    if os.path.exists(path) and not is_installed(os.path.abspath(path)):  # noqa: PTH100, PTH110
        raise _NamelessError
    module, colon, name = value.partition(":")
    if module in sys.modules:
        if not _module_is_installed(module):
            raise _NamelessError
        return [value, _named(getattr(sys.modules[module], name, None))]
    package = module.partition(".")[0]
    found = importlib.util.find_spec(package) if colon and package.isidentifier() else None
    if found is not None and not all(map(is_installed, found.submodule_search_locations or [found.origin or ""])):
        raise _NamelessError
    return value


def _packages() -> list[str]:
    """Name, version and, where it was not a package index, origin of everything that is installed."""
    return sorted(
        f"{one.metadata['Name']} {one.version} {one.read_text('direct_url.json')}"
        for one in importlib.metadata.distributions()
    )
